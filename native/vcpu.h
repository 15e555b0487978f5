// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_VCPU_H_
#define GMEM_VCPU_H_

#include <napi.h>

#include <memory>
#include <optional>

#include "arguments.h"
#include "run_queue.h"
#include "vcpu_thread.h"

namespace gmem {

// A vCPU: NativeVcpu of src/binding/addon.ts.
class Vcpu : public Napi::ObjectWrap<Vcpu> {
 public:
  struct Parameters {
    Napi::Object vm;
    std::shared_ptr<VcpuThread> thread;
  };

  static Napi::Function Define(Napi::Env env);
  static Napi::Object Create(Napi::Env env, Napi::Object vm, std::shared_ptr<VcpuThread> thread);

  explicit Vcpu(const Napi::CallbackInfo& info);
  ~Vcpu() override;

 private:
  Napi::Value GetFd(const Napi::CallbackInfo& info);
  Napi::Value GetRunning(const Napi::CallbackInfo& info);
  Napi::Value Run(const Napi::CallbackInfo& info);
  Napi::Value Kick(const Napi::CallbackInfo& info);
  Napi::Value GetRegs(const Napi::CallbackInfo& info);
  Napi::Value SetRegs(const Napi::CallbackInfo& info);
  Napi::Value GetSregs(const Napi::CallbackInfo& info);
  Napi::Value SetSregs(const Napi::CallbackInfo& info);
  Napi::Value SetCpuid2(const Napi::CallbackInfo& info);
  Napi::Value SetAffinity(const Napi::CallbackInfo& info);
  Napi::Value PreFaultMemory(const Napi::CallbackInfo& info);
  Napi::Value IoctlOnThread(const Napi::CallbackInfo& info);
  Napi::Value WriteRun(const Napi::CallbackInfo& info);
  Napi::Value ReadRun(const Napi::CallbackInfo& info);
  Napi::Value Stats(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);

  // The thread of a vCPU that is neither closed nor running; a TypeError otherwise.
  VcpuThread& Idle(const Arguments& arguments) const;
  VcpuThread& Open(const Arguments& arguments) const;
  // The ioctl on the vCPU's thread. A SIGBUS that comes with it is thrown, or stored where `sigbus`
  // says.
  SyscallResult OnThread(const Arguments& arguments, unsigned long request, unsigned long argument,
                         std::optional<Fault>* sigbus = nullptr);
  Napi::Value GetStruct(const Arguments& arguments, unsigned long request, size_t size,
                        const char* syscall);
  void SetStruct(const Arguments& arguments, unsigned long request, size_t size,
                 const char* syscall);
  std::span<uint8_t> RunRange(const Arguments& arguments, size_t offset, size_t length) const;
  void Finish(Napi::Env env, const RunResult& result);
  // False where the thread did not end in time.
  bool StopThread();

  // Keeps the parent from being collected, and closed, before us.
  Napi::ObjectReference vm_;
  std::shared_ptr<VcpuThread> thread_;
  std::shared_ptr<RunQueue> runs_;
  // Of the run that is under way.
  std::optional<Napi::Promise::Deferred> pending_;
};

}  // namespace gmem

#endif  // GMEM_VCPU_H_
