// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_ADDON_DATA_H_
#define GMEM_ADDON_DATA_H_

#include <napi.h>

#include <memory>

#include "run_queue.h"

namespace gmem {

// What belongs to one JavaScript environment (main thread or worker thread); nothing of it is
// process-global.
struct AddonData {
  explicit AddonData(Napi::Env env);

  static AddonData& Of(Napi::Env env) { return *env.GetInstanceData<AddonData>(); }

  Napi::FunctionReference kernel_error;
  Napi::FunctionReference kvm;
  Napi::FunctionReference vm;
  Napi::FunctionReference vcpu;
  Napi::FunctionReference guest_memfd;
  Napi::FunctionReference mapping;
  // Shared with the vCPU threads, which may outlive the environment when the kernel does not let
  // them go.
  std::shared_ptr<RunQueue> runs;
};

// How methods are defined: so that src/binding can replace them by recording ones.
inline constexpr napi_property_attributes kMethod = napi_default_method;

// Objects of our classes are made by the addon only: `new` from JavaScript is a TypeError. The
// parameters travel as an External that lives for the duration of the constructor.
template <typename Parameters>
Napi::Object Construct(const Napi::FunctionReference& constructor, Napi::Env env,
                       Parameters& parameters) {
  return constructor.New({Napi::External<Parameters>::New(env, &parameters)});
}

template <typename Parameters>
Parameters& ConstructionParameters(const Napi::CallbackInfo& info) {
  if (!info[0].IsExternal()) {
    throw Napi::TypeError::New(info.Env(), "objects of this class are made by the addon only");
  }
  return *info[0].As<Napi::External<Parameters>>().Data();
}

}  // namespace gmem

#endif  // GMEM_ADDON_DATA_H_
