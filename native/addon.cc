// SPDX-License-Identifier: Apache-2.0

// The addon that src/binding/addon.ts describes: mechanism only, one system call per method, no
// policy.

#include <napi.h>

#include <cstdint>

#include "addon_data.h"
#include "arguments.h"
#include "guest_memfd.h"
#include "kvm.h"
#include "mapping.h"
#include "system_calls.h"
#include "vcpu.h"
#include "vm.h"

// native/guest/monitor.S
extern "C" const uint8_t gmem_monitor_start[];
extern "C" const uint8_t gmem_monitor_end[];

namespace gmem {
namespace {

Napi::Value Initialize(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "initialize");
  if (!arguments[0].IsFunction()) arguments.ThrowTypeError("kernelError must be a class");
  AddonData::Of(info.Env()).kernel_error = Napi::Persistent(arguments[0].As<Napi::Function>());
  return info.Env().Undefined();
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  // Owned by the environment from here on.
  auto* data = new AddonData(env);
  env.SetInstanceData(data);

  Napi::Object classes = Napi::Object::New(env);
  const auto define = [&](const char* name, Napi::FunctionReference* reference,
                          Napi::Function constructor) {
    *reference = Napi::Persistent(constructor);
    classes[name] = constructor;
  };
  define("Kvm", &data->kvm, Kvm::Define(env));
  define("Vm", &data->vm, Vm::Define(env));
  define("Vcpu", &data->vcpu, Vcpu::Define(env));
  define("GuestMemfd", &data->guest_memfd, GuestMemfd::Define(env));
  define("Mapping", &data->mapping, Mapping::Define(env));

  exports["classes"] = classes;
  exports["initialize"] = Napi::Function::New<Initialize>(env, "initialize");
  exports["monitor"] = CopyToUint8Array(env, {gmem_monitor_start, gmem_monitor_end});
  DefineSystemCalls(env, exports);
  return exports;
}

}  // namespace
}  // namespace gmem

using gmem::Init;
NODE_API_MODULE(NODE_GYP_MODULE_NAME, Init)
