// SPDX-License-Identifier: Apache-2.0
#include "kernel_error.h"

#include "addon_data.h"
#include "errno_name.h"

namespace gmem {

void ThrowKernelError(Napi::Env env, int error, const std::string& syscall) {
  const std::string code = ErrnoName(error);
  const std::string description = ErrnoDescription(error);
  const AddonData& data = AddonData::Of(env);
  if (data.kernel_error.IsEmpty()) {
    throw Napi::TypeError::New(
        env, "addon.initialize(KernelError) was not called; the kernel said " + code + " (" +
                 description + ") to " + syscall);
  }
  throw Napi::Error(env, data.kernel_error.New({
                             Napi::String::New(env, code),
                             Napi::Number::New(env, -error),
                             Napi::String::New(env, syscall),
                             Napi::String::New(env, description),
                         }));
}

}  // namespace gmem
