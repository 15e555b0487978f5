// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_VM_H_
#define GMEM_VM_H_

#include <napi.h>

#include "arguments.h"
#include "unique_fd.h"

namespace gmem {

// A VM: NativeVm of src/binding/addon.ts.
class Vm : public Napi::ObjectWrap<Vm> {
 public:
  struct Parameters {
    Napi::Object kvm;
    UniqueFd fd;
    // KVM_GET_VCPU_MMAP_SIZE.
    size_t run_size;
  };

  static Napi::Function Define(Napi::Env env);
  static Napi::Object Create(Napi::Env env, Napi::Object kvm, UniqueFd fd, size_t run_size);

  explicit Vm(const Napi::CallbackInfo& info);

 private:
  Napi::Value GetFd(const Napi::CallbackInfo& info);
  Napi::Value CheckExtension(const Napi::CallbackInfo& info);
  Napi::Value EnableCapability(const Napi::CallbackInfo& info);
  Napi::Value CreateGuestMemfd(const Napi::CallbackInfo& info);
  Napi::Value SetUserMemoryRegion(const Napi::CallbackInfo& info);
  Napi::Value SetUserMemoryRegion2(const Napi::CallbackInfo& info);
  Napi::Value SetMemoryAttributes(const Napi::CallbackInfo& info);
  Napi::Value CreateVcpu(const Napi::CallbackInfo& info);
  Napi::Value Stats(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);

  int OpenFd(const Arguments& arguments) const;

  // Keeps the parent from being collected, and closed, before us.
  Napi::ObjectReference kvm_;
  UniqueFd fd_;
  size_t run_size_;
};

}  // namespace gmem

#endif  // GMEM_VM_H_
