// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_VCPU_THREAD_H_
#define GMEM_VCPU_THREAD_H_

#include <linux/kvm.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "deadline_timer.h"
#include "kernel_error.h"
#include "kvm_abi.h"
#include "signals.h"
#include "unique_fd.h"
#include "unique_mapping.h"

namespace gmem {

// One KVM_RUN, as the kernel left kvm_run.
struct RunResult {
  int ret = 0;
  int error = 0;
  uint32_t exit_reason = 0;
  std::array<uint8_t, abi::kRunUnionSize> payload{};
  std::vector<uint8_t> io_data;
  bool deadline_expired = false;
  bool kicked = false;
  // A SIGBUS that KVM sent during KVM_RUN, for poisoned memory.
  std::optional<Fault> sigbus;
};

// The thread of one vCPU. It creates the vCPU, and every ioctl of the vCPU is issued on it, as
// api.rst asks. All public methods are called from the JavaScript thread.
class VcpuThread : public std::enable_shared_from_this<VcpuThread> {
 public:
  struct Creation {
    std::shared_ptr<VcpuThread> thread;
    // Where thread is null: what failed.
    int error = 0;
    std::string syscall;
  };
  // Starts the thread and waits until it has created the vCPU. `vm_fd` is used only meanwhile.
  static Creation Create(int vm_fd, uint32_t id, size_t run_size);

  int fd() const { return fd_.get(); }
  // The pages of kvm_run. Not to be touched during a run.
  std::span<uint8_t> run_pages() const { return {run_.address(), run_.length()}; }

  struct CallResult {
    SyscallResult syscall;
    // A SIGBUS that the kernel sent meanwhile.
    std::optional<Fault> sigbus;
  };
  // Runs the call on the thread and waits. Not during a run.
  CallResult Call(const std::function<long()>& call);
  // Starts a KVM_RUN; `done` is called on the thread.
  void Run(double deadline_ms, std::function<void(RunResult)> done);
  // Ends the KVM_RUN that was started, whether or not the thread is in it yet. Does nothing when
  // there is none.
  void Kick();
  // Asks the thread to end: kicks it, and lets it finish what is queued.
  void RequestStop();
  // RequestStop, then waits. False where the limit passed: the thread is left to itself.
  bool Stop(std::chrono::steady_clock::time_point limit);

 private:
  void Main(int vm_fd, uint32_t id, size_t run_size, Creation* creation);
  int CreateVcpu(int vm_fd, uint32_t id, size_t run_size, std::string* syscall);
  void ServeCommands();
  void Post(std::function<void()> command);
  RunResult RunVcpu(double deadline_ms);
  CallResult EnterGuest();
  std::vector<uint8_t> CopyIoData() const;
  void KickLocked();
  kvm_run* run() const { return reinterpret_cast<kvm_run*>(run_.address()); }

  // Of the thread itself.
  VcpuSignals signals_;
  std::unique_ptr<DeadlineTimer> timer_;

  // Set before Create returns, constant until the thread ends.
  UniqueFd fd_;
  UniqueMapping run_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> commands_;
  bool created_ = false;
  bool stopping_ = false;
  bool finished_ = false;
  // From Run until KVM_RUN has come back for good.
  bool in_run_ = false;
  bool kick_requested_ = false;

  std::thread thread_;
};

}  // namespace gmem

#endif  // GMEM_VCPU_THREAD_H_
