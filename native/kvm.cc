// SPDX-License-Identifier: Apache-2.0
#include "kvm.h"

#include <cerrno>
#include <vector>

#include "addon_data.h"
#include "ioctl.h"
#include "kernel_error.h"
#include "kvm_abi.h"
#include "vm.h"

namespace gmem {
namespace {

// KVM_MAX_CPUID_ENTRIES is 256 in 7.3.4; a kernel that wants more than this is broken.
constexpr uint32_t kCpuidEntriesMax = 65536;

}  // namespace

Napi::Function Kvm::Define(Napi::Env env) {
  return DefineClass(
      env, "Kvm",
      {
          InstanceAccessor<&Kvm::GetFd>("fd"),
          InstanceMethod<&Kvm::ApiVersion>("apiVersion", kMethod),
          InstanceMethod<&Kvm::CheckExtension>("checkExtension", kMethod),
          InstanceMethod<&Kvm::CreateVm>("createVm", kMethod),
          InstanceMethod<&Kvm::SupportedCpuid>("supportedCpuid", kMethod),
          InstanceMethod<&Kvm::Close>("close", kMethod),
          InstanceMethod<&Kvm::Close>(Napi::Symbol::WellKnown(env, "dispose"), kMethod),
      });
}

Napi::Object Kvm::Create(Napi::Env env, UniqueFd fd) {
  return Construct(AddonData::Of(env).kvm, env, fd);
}

Kvm::Kvm(const Napi::CallbackInfo& info)
    : ObjectWrap(info), fd_(std::move(ConstructionParameters<UniqueFd>(info))) {}

int Kvm::OpenFd(const Arguments& arguments) const {
  if (!fd_) arguments.ThrowClosed();
  return fd_.get();
}

Napi::Value Kvm::GetFd(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), OpenFd({info, "Kvm.fd"}));
}

Napi::Value Kvm::ApiVersion(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Kvm.apiVersion");
  const int fd = OpenFd(arguments);
  return Napi::Number::New(
      info.Env(), static_cast<double>(Checked(info.Env(), Ioctl(fd, KVM_GET_API_VERSION, 0UL),
                                              "KVM_GET_API_VERSION")));
}

Napi::Value Kvm::CheckExtension(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Kvm.checkExtension");
  const int fd = OpenFd(arguments);
  const uint32_t capability = arguments.Uint32(0, "capability");
  const long value =
      Checked(info.Env(), Ioctl(fd, KVM_CHECK_EXTENSION, capability), "KVM_CHECK_EXTENSION");
  return Napi::Number::New(info.Env(), static_cast<double>(value));
}

Napi::Value Kvm::CreateVm(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Kvm.createVm");
  const int fd = OpenFd(arguments);
  const uint64_t type = arguments.Uint64(0, "type");
  const long run_size =
      Checked(info.Env(), Ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0UL), "KVM_GET_VCPU_MMAP_SIZE");
  const long vm = Checked(info.Env(), Ioctl(fd, KVM_CREATE_VM, type), "KVM_CREATE_VM");
  return Vm::Create(info.Env(), Value(), UniqueFd(static_cast<int>(vm)),
                    static_cast<size_t>(run_size));
}

Napi::Value Kvm::SupportedCpuid(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Kvm.supportedCpuid");
  const int fd = OpenFd(arguments);
  for (uint32_t entries = 128; entries <= kCpuidEntriesMax; entries *= 2) {
    std::vector<uint8_t> buffer(sizeof(abi::CpuidHeader) + entries * sizeof(kvm_cpuid_entry2));
    // SAFETY: the buffer begins with a header and has room for `entries` entries, which is what
    // nent says.
    auto* header = reinterpret_cast<abi::CpuidHeader*>(buffer.data());
    header->nent = entries;
    const SyscallResult result = Ioctl(fd, abi::kGetSupportedCpuid, header);
    if (result.error == E2BIG) continue;
    Checked(info.Env(), result, "KVM_GET_SUPPORTED_CPUID");
    return CopyToUint8Array(info.Env(),
                            std::span(buffer).first(sizeof(abi::CpuidHeader) +
                                                    header->nent * sizeof(kvm_cpuid_entry2)));
  }
  ThrowKernelError(info.Env(), E2BIG, "KVM_GET_SUPPORTED_CPUID");
}

Napi::Value Kvm::Close(const Napi::CallbackInfo& info) {
  fd_.Reset();
  return info.Env().Undefined();
}

}  // namespace gmem
