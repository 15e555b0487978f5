// SPDX-License-Identifier: Apache-2.0
#include "vcpu.h"

#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <utility>

#include "addon_data.h"
#include "errno_name.h"
#include "ioctl.h"
#include "kernel_error.h"
#include "kvm_abi.h"
#include "kvm_stats.h"
#include "memory_access_error.h"

namespace gmem {
namespace {

constexpr auto kJoinLimit = std::chrono::seconds(5);
// About 24 days: beyond it a deadline is a mistake in units.
constexpr double kDeadlineMaxMs = 2147483647;

Napi::Object ToRawExit(Napi::Env env, const RunResult& result) {
  Napi::Object exit = Napi::Object::New(env);
  exit["ret"] = Napi::Number::New(env, result.ret);
  exit["errno"] = Napi::Number::New(env, result.error);
  exit["code"] = Napi::String::New(env, result.error == 0 ? "" : ErrnoName(result.error));
  exit["exitReason"] = Napi::Number::New(env, result.exit_reason);
  exit["payload"] = CopyToUint8Array(env, result.payload);
  exit["ioData"] = CopyToUint8Array(env, result.io_data);
  exit["deadlineExpired"] = Napi::Boolean::New(env, result.deadline_expired);
  exit["kicked"] = Napi::Boolean::New(env, result.kicked);
  exit["sigbus"] = ToSignal(env, result.sigbus);
  return exit;
}

}  // namespace

Napi::Function Vcpu::Define(Napi::Env env) {
  return DefineClass(
      env, "Vcpu",
      {
          InstanceAccessor<&Vcpu::GetFd>("fd"),
          InstanceAccessor<&Vcpu::GetRunning>("running"),
          InstanceMethod<&Vcpu::Run>("run", kMethod),
          InstanceMethod<&Vcpu::Kick>("kick", kMethod),
          InstanceMethod<&Vcpu::GetRegs>("getRegs", kMethod),
          InstanceMethod<&Vcpu::SetRegs>("setRegs", kMethod),
          InstanceMethod<&Vcpu::GetSregs>("getSregs", kMethod),
          InstanceMethod<&Vcpu::SetSregs>("setSregs", kMethod),
          InstanceMethod<&Vcpu::SetCpuid2>("setCpuid2", kMethod),
          InstanceMethod<&Vcpu::SetAffinity>("setAffinity", kMethod),
          InstanceMethod<&Vcpu::PreFaultMemory>("preFaultMemory", kMethod),
          InstanceMethod<&Vcpu::IoctlOnThread>("ioctl", kMethod),
          InstanceMethod<&Vcpu::WriteRun>("writeRun", kMethod),
          InstanceMethod<&Vcpu::ReadRun>("readRun", kMethod),
          InstanceMethod<&Vcpu::Stats>("stats", kMethod),
          InstanceMethod<&Vcpu::Close>("close", kMethod),
          InstanceMethod<&Vcpu::Close>(Napi::Symbol::WellKnown(env, "dispose"), kMethod),
      });
}

Napi::Object Vcpu::Create(Napi::Env env, Napi::Object vm, std::shared_ptr<VcpuThread> thread) {
  Parameters parameters{vm, std::move(thread)};
  return Construct(AddonData::Of(env).vcpu, env, parameters);
}

Vcpu::Vcpu(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  Parameters& parameters = ConstructionParameters<Parameters>(info);
  vm_ = Napi::Persistent(parameters.vm);
  thread_ = std::move(parameters.thread);
  runs_ = AddonData::Of(info.Env()).runs;
  runs_->Add(thread_);
}

Vcpu::~Vcpu() { StopThread(); }

VcpuThread& Vcpu::Open(const Arguments& arguments) const {
  if (thread_ == nullptr) arguments.ThrowClosed();
  return *thread_;
}

VcpuThread& Vcpu::Idle(const Arguments& arguments) const {
  VcpuThread& thread = Open(arguments);
  if (pending_) arguments.ThrowTypeError("the vCPU is running");
  return thread;
}

Napi::Value Vcpu::GetFd(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), Open({info, "Vcpu.fd"}).fd());
}

Napi::Value Vcpu::GetRunning(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), pending_.has_value());
}

Napi::Value Vcpu::Run(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Vcpu.run");
  VcpuThread& thread = Idle(arguments);
  const double deadline_ms = arguments.Number(0, "deadlineMs");
  if (!(deadline_ms >= 0 && deadline_ms <= kDeadlineMaxMs)) {
    arguments.ThrowTypeError("deadlineMs must be from 0 to 2 ** 31 - 1");
  }

  pending_.emplace(info.Env());
  // While it runs, the object must not be collected: the completion comes back to it.
  Ref();
  runs_->BeginRun(info.Env());
  thread.Run(deadline_ms, [this, runs = runs_](RunResult result) {
    runs->Deliver([this, result = std::move(result)](Napi::Env env) { Finish(env, result); });
  });
  return pending_->Promise();
}

void Vcpu::Finish(Napi::Env env, const RunResult& result) {
  const Napi::Promise::Deferred deferred = *pending_;
  pending_.reset();
  runs_->EndRun(env);
  deferred.Resolve(ToRawExit(env, result));
  Unref();
}

Napi::Value Vcpu::Kick(const Napi::CallbackInfo& info) {
  Open({info, "Vcpu.kick"}).Kick();
  return info.Env().Undefined();
}

Napi::Value Vcpu::SetAffinity(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Vcpu.setAffinity");
  VcpuThread& thread = Idle(arguments);
  const std::span<uint8_t> mask = arguments.Bytes(0, "the mask");
  const auto result = thread.Call([&] {
    return static_cast<int>(::syscall(SYS_sched_setaffinity, 0, mask.size(), mask.data()));
  });
  Checked(arguments.env(), result.syscall, "sched_setaffinity");
  return info.Env().Undefined();
}

SyscallResult Vcpu::OnThread(const Arguments& arguments, unsigned long request,
                             unsigned long argument, std::optional<Fault>* sigbus) {
  VcpuThread& thread = Idle(arguments);
  const auto result = thread.Call([&] { return ::ioctl(thread.fd(), request, argument); });
  if (sigbus != nullptr) {
    *sigbus = result.sigbus;
  } else if (result.sigbus) {
    ThrowMemoryAccessError(arguments, *result.sigbus);
  }
  return result.syscall;
}

Napi::Value Vcpu::GetStruct(const Arguments& arguments, unsigned long request, size_t size,
                            const char* syscall) {
  std::vector<uint8_t> bytes(size);
  Checked(arguments.env(),
          OnThread(arguments, request, reinterpret_cast<unsigned long>(bytes.data())), syscall);
  return CopyToUint8Array(arguments.env(), bytes);
}

void Vcpu::SetStruct(const Arguments& arguments, unsigned long request, size_t size,
                     const char* syscall) {
  Idle(arguments);
  const std::span<uint8_t> bytes = arguments.BytesOfSize(0, "the struct", size);
  Checked(arguments.env(),
          OnThread(arguments, request, reinterpret_cast<unsigned long>(bytes.data())), syscall);
}

Napi::Value Vcpu::GetRegs(const Napi::CallbackInfo& info) {
  return GetStruct({info, "Vcpu.getRegs"}, KVM_GET_REGS, sizeof(kvm_regs), "KVM_GET_REGS");
}

Napi::Value Vcpu::SetRegs(const Napi::CallbackInfo& info) {
  SetStruct({info, "Vcpu.setRegs"}, KVM_SET_REGS, sizeof(kvm_regs), "KVM_SET_REGS");
  return info.Env().Undefined();
}

Napi::Value Vcpu::GetSregs(const Napi::CallbackInfo& info) {
  return GetStruct({info, "Vcpu.getSregs"}, KVM_GET_SREGS, sizeof(kvm_sregs), "KVM_GET_SREGS");
}

Napi::Value Vcpu::SetSregs(const Napi::CallbackInfo& info) {
  SetStruct({info, "Vcpu.setSregs"}, KVM_SET_SREGS, sizeof(kvm_sregs), "KVM_SET_SREGS");
  return info.Env().Undefined();
}

Napi::Value Vcpu::SetCpuid2(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Vcpu.setCpuid2");
  Idle(arguments);
  const GuardedBuffer buffer(arguments.Bytes(0, "cpuid"));
  Checked(info.Env(),
          OnThread(arguments, abi::kSetCpuid2, reinterpret_cast<unsigned long>(buffer.data())),
          "KVM_SET_CPUID2");
  return info.Env().Undefined();
}

Napi::Value Vcpu::PreFaultMemory(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Vcpu.preFaultMemory");
  Idle(arguments);
  abi::PreFaultMemory range = {};
  range.gpa = arguments.Uint64(0, "gpa");
  range.size = arguments.Uint64(1, "size");
  range.flags = arguments.Uint64(2, "flags");
  std::optional<Fault> sigbus;
  const SyscallResult result =
      OnThread(arguments, abi::kPreFaultMemory, reinterpret_cast<unsigned long>(&range), &sigbus);
  const Napi::Env env = info.Env();
  Napi::Object outcome = Napi::Object::New(env);
  outcome["ret"] = Napi::Number::New(env, static_cast<double>(result.value));
  outcome["errno"] = Napi::Number::New(env, result.error);
  outcome["code"] = Napi::String::New(env, result.error == 0 ? "" : ErrnoName(result.error));
  outcome["gpa"] = Napi::BigInt::New(env, static_cast<uint64_t>(range.gpa));
  outcome["size"] = Napi::BigInt::New(env, static_cast<uint64_t>(range.size));
  outcome["sigbus"] = ToSignal(env, sigbus);
  return outcome;
}

Napi::Value Vcpu::IoctlOnThread(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Vcpu.ioctl");
  Idle(arguments);
  const uint32_t request = arguments.Uint32(0, "request");
  // It would enter the guest without a deadline and without a way to kick it out.
  if (request == KVM_RUN) arguments.ThrowTypeError("use run() for KVM_RUN");
  IoctlArgument argument(arguments, 1, "argument");
  const SyscallResult result = OnThread(arguments, request, argument.value());
  argument.WriteBack();
  const long value = Checked(info.Env(), result, IoctlName(request).c_str());
  return Napi::Number::New(info.Env(), static_cast<double>(value));
}

std::span<uint8_t> Vcpu::RunRange(const Arguments& arguments, size_t offset, size_t length) const {
  const std::span<uint8_t> pages = Idle(arguments).run_pages();
  if (offset > pages.size() || length > pages.size() - offset) {
    arguments.ThrowRangeError("kvm_run has " + std::to_string(pages.size()) + " bytes");
  }
  return pages.subspan(offset, length);
}

Napi::Value Vcpu::WriteRun(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Vcpu.writeRun");
  Idle(arguments);
  const size_t offset = arguments.Size(0, "offset");
  const std::span<uint8_t> data = arguments.Bytes(1, "data");
  const std::span<uint8_t> range = RunRange(arguments, offset, data.size());
  // SAFETY: both spans have data.size() bytes, and no run is under way.
  if (!data.empty()) std::memcpy(range.data(), data.data(), data.size());
  return info.Env().Undefined();
}

Napi::Value Vcpu::ReadRun(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Vcpu.readRun");
  Idle(arguments);
  const size_t offset = arguments.Size(0, "offset");
  const size_t length = arguments.Size(1, "length");
  return CopyToUint8Array(info.Env(), RunRange(arguments, offset, length));
}

Napi::Value Vcpu::Stats(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Vcpu.stats");
  UniqueFd stats(static_cast<int>(
      Checked(info.Env(), OnThread(arguments, abi::kGetStatsFd, 0), "KVM_GET_STATS_FD")));
  return ReadKvmStats(info.Env(), std::move(stats));
}

bool Vcpu::StopThread() {
  if (thread_ == nullptr) return true;
  const std::shared_ptr<VcpuThread> thread = std::exchange(thread_, nullptr);
  runs_->Remove(thread);
  return thread->Stop(std::chrono::steady_clock::now() + kJoinLimit);
}

Napi::Value Vcpu::Close(const Napi::CallbackInfo& info) {
  if (!StopThread()) ThrowKernelError(info.Env(), ETIMEDOUT, "KVM_RUN");
  return info.Env().Undefined();
}

}  // namespace gmem
