// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_KVM_H_
#define GMEM_KVM_H_

#include <napi.h>

#include "arguments.h"
#include "unique_fd.h"

namespace gmem {

// /dev/kvm: NativeKvm of src/binding/addon.ts.
class Kvm : public Napi::ObjectWrap<Kvm> {
 public:
  static Napi::Function Define(Napi::Env env);
  static Napi::Object Create(Napi::Env env, UniqueFd fd);

  explicit Kvm(const Napi::CallbackInfo& info);

 private:
  Napi::Value GetFd(const Napi::CallbackInfo& info);
  Napi::Value ApiVersion(const Napi::CallbackInfo& info);
  Napi::Value CheckExtension(const Napi::CallbackInfo& info);
  Napi::Value CreateVm(const Napi::CallbackInfo& info);
  Napi::Value SupportedCpuid(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);

  int OpenFd(const Arguments& arguments) const;

  UniqueFd fd_;
};

}  // namespace gmem

#endif  // GMEM_KVM_H_
