// SPDX-License-Identifier: Apache-2.0
#include "vm.h"

#include <fcntl.h>

#include <cerrno>

#include "addon_data.h"
#include "guest_memfd.h"
#include "ioctl.h"
#include "kernel_error.h"
#include "kvm_abi.h"
#include "kvm_stats.h"
#include "vcpu.h"

namespace gmem {

Napi::Function Vm::Define(Napi::Env env) {
  return DefineClass(
      env, "Vm",
      {
          InstanceAccessor<&Vm::GetFd>("fd"),
          InstanceMethod<&Vm::CheckExtension>("checkExtension", kMethod),
          InstanceMethod<&Vm::EnableCapability>("enableCapability", kMethod),
          InstanceMethod<&Vm::CreateGuestMemfd>("createGuestMemfd", kMethod),
          InstanceMethod<&Vm::SetUserMemoryRegion>("setUserMemoryRegion", kMethod),
          InstanceMethod<&Vm::SetUserMemoryRegion2>("setUserMemoryRegion2", kMethod),
          InstanceMethod<&Vm::SetMemoryAttributes>("setMemoryAttributes", kMethod),
          InstanceMethod<&Vm::CreateVcpu>("createVcpu", kMethod),
          InstanceMethod<&Vm::Stats>("stats", kMethod),
          InstanceMethod<&Vm::Close>("close", kMethod),
          InstanceMethod<&Vm::Close>(Napi::Symbol::WellKnown(env, "dispose"), kMethod),
      });
}

Napi::Object Vm::Create(Napi::Env env, Napi::Object kvm, UniqueFd fd, size_t run_size) {
  Parameters parameters{kvm, std::move(fd), run_size};
  return Construct(AddonData::Of(env).vm, env, parameters);
}

Vm::Vm(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  Parameters& parameters = ConstructionParameters<Parameters>(info);
  kvm_ = Napi::Persistent(parameters.kvm);
  fd_ = std::move(parameters.fd);
  run_size_ = parameters.run_size;
}

int Vm::OpenFd(const Arguments& arguments) const {
  if (!fd_) arguments.ThrowClosed();
  return fd_.get();
}

Napi::Value Vm::GetFd(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), OpenFd({info, "Vm.fd"}));
}

Napi::Value Vm::CheckExtension(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Vm.checkExtension");
  const int fd = OpenFd(arguments);
  const uint32_t capability = arguments.Uint32(0, "capability");
  const long value =
      Checked(info.Env(), Ioctl(fd, KVM_CHECK_EXTENSION, capability), "KVM_CHECK_EXTENSION");
  return Napi::Number::New(info.Env(), static_cast<double>(value));
}

Napi::Value Vm::EnableCapability(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Vm.enableCapability");
  const int fd = OpenFd(arguments);
  kvm_enable_cap enable = {};
  enable.cap = arguments.Uint32(0, "capability");
  enable.flags = arguments.Uint32(2, "flags");
  if (!arguments[1].IsArray()) arguments.ThrowTypeError("args must be an array of bigints");
  const auto args = arguments[1].As<Napi::Array>();
  if (args.Length() > std::size(enable.args)) {
    arguments.ThrowTypeError("args must have at most four elements");
  }
  for (uint32_t i = 0; i < args.Length(); i++) {
    const Napi::Value element = args.Get(i);
    bool lossless = false;
    if (element.IsBigInt()) enable.args[i] = element.As<Napi::BigInt>().Uint64Value(&lossless);
    if (!lossless) arguments.ThrowTypeError("args must be bigints from 0n to 2n ** 64n - 1n");
  }
  const long value = Checked(info.Env(), Ioctl(fd, KVM_ENABLE_CAP, &enable), "KVM_ENABLE_CAP");
  return Napi::Number::New(info.Env(), static_cast<double>(value));
}

Napi::Value Vm::CreateGuestMemfd(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Vm.createGuestMemfd");
  const int fd = OpenFd(arguments);
  abi::CreateGuestMemfd create = {};
  create.size = arguments.Uint64(0, "size");
  create.flags = arguments.Uint64(1, "flags");
  UniqueFd memfd(static_cast<int>(
      Checked(info.Env(), Ioctl(fd, abi::kCreateGuestMemfd, &create), "KVM_CREATE_GUEST_MEMFD")));
  Checked(info.Env(), Issue([&] { return ::fcntl(memfd.get(), F_SETFD, FD_CLOEXEC); }), "fcntl");
  return GuestMemfd::Create(info.Env(), Value(), std::move(memfd));
}

Napi::Value Vm::SetUserMemoryRegion(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Vm.setUserMemoryRegion");
  const int fd = OpenFd(arguments);
  kvm_userspace_memory_region region = {};
  region.slot = arguments.Uint32(0, "slot");
  region.flags = arguments.Uint32(1, "flags");
  region.guest_phys_addr = arguments.Uint64(2, "gpa");
  region.memory_size = arguments.Uint64(3, "size");
  region.userspace_addr = arguments.Uint64(4, "userspaceAddr");
  Checked(info.Env(), Ioctl(fd, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
  return info.Env().Undefined();
}

Napi::Value Vm::SetUserMemoryRegion2(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Vm.setUserMemoryRegion2");
  const int fd = OpenFd(arguments);
  abi::UserspaceMemoryRegion2 region = {};
  region.slot = arguments.Uint32(0, "slot");
  region.flags = arguments.Uint32(1, "flags");
  region.guest_phys_addr = arguments.Uint64(2, "gpa");
  region.memory_size = arguments.Uint64(3, "size");
  region.userspace_addr = arguments.Uint64(4, "userspaceAddr");
  region.guest_memfd_offset = arguments.Uint64(5, "guestMemfdOffset");
  // The field is unsigned, but a caller passes -1 for "none", as everywhere else.
  region.guest_memfd = static_cast<uint32_t>(arguments.Int32(6, "guestMemfd"));
  Checked(info.Env(), Ioctl(fd, abi::kSetUserMemoryRegion2, &region),
          "KVM_SET_USER_MEMORY_REGION2");
  return info.Env().Undefined();
}

Napi::Value Vm::SetMemoryAttributes(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Vm.setMemoryAttributes");
  const int fd = OpenFd(arguments);
  abi::MemoryAttributes attributes = {};
  attributes.address = arguments.Uint64(0, "gpa");
  attributes.size = arguments.Uint64(1, "size");
  attributes.attributes = arguments.Uint64(2, "attributes");
  attributes.flags = arguments.Uint64(3, "flags");
  Checked(info.Env(), Ioctl(fd, abi::kSetMemoryAttributes, &attributes),
          "KVM_SET_MEMORY_ATTRIBUTES");
  return info.Env().Undefined();
}

Napi::Value Vm::CreateVcpu(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Vm.createVcpu");
  const int fd = OpenFd(arguments);
  const uint32_t id = arguments.Uint32(0, "id");
  VcpuThread::Creation creation = VcpuThread::Create(fd, id, run_size_);
  if (creation.thread == nullptr) {
    ThrowKernelError(info.Env(), creation.error, creation.syscall);
  }
  return Vcpu::Create(info.Env(), Value(), std::move(creation.thread));
}

Napi::Value Vm::Stats(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Vm.stats");
  const int fd = OpenFd(arguments);
  UniqueFd stats(
      static_cast<int>(Checked(info.Env(), Ioctl(fd, abi::kGetStatsFd, 0UL), "KVM_GET_STATS_FD")));
  return ReadKvmStats(info.Env(), std::move(stats));
}

Napi::Value Vm::Close(const Napi::CallbackInfo& info) {
  fd_.Reset();
  return info.Env().Undefined();
}

}  // namespace gmem
