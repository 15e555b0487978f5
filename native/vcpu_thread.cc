// SPDX-License-Identifier: Apache-2.0
#include "vcpu_thread.h"

#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <atomic>
#include <cassert>
#include <cerrno>
#include <system_error>
#include <utility>

namespace gmem {
namespace {

void SetImmediateExit(kvm_run* run, __u8 value) {
  std::atomic_ref<__u8>(run->immediate_exit).store(value);
}

}  // namespace

VcpuThread::Creation VcpuThread::Create(int vm_fd, uint32_t id, size_t run_size) {
  InstallSignalHandlers();
  auto self = std::make_shared<VcpuThread>();
  Creation creation;
  try {
    const BlockForeignSignals block;
    self->thread_ = std::thread(
        [self, vm_fd, id, run_size, &creation] { self->Main(vm_fd, id, run_size, &creation); });
  } catch (const std::system_error& error) {
    creation.error = error.code().value();
    creation.syscall = "pthread_create";
    return creation;
  }
  std::unique_lock lock(self->mutex_);
  self->changed_.wait(lock, [&] { return self->created_; });
  lock.unlock();
  if (creation.error != 0) {
    self->thread_.join();
  } else {
    creation.thread = std::move(self);
  }
  return creation;
}

void VcpuThread::Main(int vm_fd, uint32_t id, size_t run_size, Creation* creation) {
  pthread_setname_np(pthread_self(), ("gmem-vcpu-" + std::to_string(id)).substr(0, 15).c_str());
  std::string syscall;
  const int error = CreateVcpu(vm_fd, id, run_size, &syscall);
  {
    const std::lock_guard lock(mutex_);
    creation->error = error;
    creation->syscall = std::move(syscall);
    created_ = true;
    // `creation` is gone once Create wakes up.
  }
  changed_.notify_all();

  if (error == 0) ServeCommands();
  SetVcpuSignals(nullptr);
  timer_.reset();
  // Not under the lock: closing may take the kernel long, and Stop wants to give up in time.
  run_.Reset();
  fd_.Reset();
  const std::lock_guard lock(mutex_);
  finished_ = true;
  changed_.notify_all();
}

int VcpuThread::CreateVcpu(int vm_fd, uint32_t id, size_t run_size, std::string* syscall) {
  *syscall = "KVM_CREATE_VCPU";
  fd_ = UniqueFd(ioctl(vm_fd, KVM_CREATE_VCPU, static_cast<unsigned long>(id)));
  if (!fd_) return errno;

  *syscall = "mmap(kvm_run)";
  void* pages = mmap(nullptr, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
  if (pages == MAP_FAILED) return errno;
  run_ = UniqueMapping(pages, run_size);

  *syscall = "timer_create";
  timer_ = std::make_unique<DeadlineTimer>();
  const int error = timer_->Create();
  if (error != 0) return error;

  signals_.run = run();
  SetVcpuSignals(&signals_);
  return 0;
}

void VcpuThread::ServeCommands() {
  for (;;) {
    std::function<void()> command;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return !commands_.empty() || stopping_; });
      if (commands_.empty()) return;
      command = std::move(commands_.front());
      commands_.pop_front();
    }
    command();
  }
}

void VcpuThread::Post(std::function<void()> command) {
  {
    const std::lock_guard lock(mutex_);
    assert(!stopping_);
    commands_.push_back(std::move(command));
  }
  changed_.notify_all();
}

VcpuThread::CallResult VcpuThread::Call(const std::function<long()>& call) {
  CallResult result{};
  bool done = false;
  Post([&] {
    const SigbusCatcher catcher;
    const SyscallResult syscall = Issue(call);
    const CallResult value{syscall, catcher.caught()};
    const std::lock_guard lock(mutex_);
    result = value;
    done = true;
    // Under the lock: the waiter's stack is gone once it has seen `done`.
    changed_.notify_all();
  });
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return done; });
  return result;
}

void VcpuThread::Run(double deadline_ms, std::function<void(RunResult)> done) {
  {
    const std::lock_guard lock(mutex_);
    in_run_ = true;
    kick_requested_ = false;
    SetImmediateExit(run(), 0);
  }
  Post([this, deadline_ms, done = std::move(done)] { done(RunVcpu(deadline_ms)); });
}

RunResult VcpuThread::RunVcpu(double deadline_ms) {
  if (deadline_ms > 0) {
    timer_->Arm(deadline_ms, &signals_);
  } else {
    // Nothing but the completion of the exit before, if there was one.
    signals_.deadline_passed = 1;
    SetImmediateExit(run(), 1);
  }
  const auto [entered, sigbus] = EnterGuest();
  timer_->Disarm(&signals_);

  RunResult result;
  result.ret = static_cast<int>(entered.value);
  result.error = entered.error;
  result.exit_reason = run()->exit_reason;
  const auto payload = run_pages().subspan(abi::kRunUnionOffset, abi::kRunUnionSize);
  std::copy(payload.begin(), payload.end(), result.payload.begin());
  result.io_data = CopyIoData();
  result.deadline_expired = entered.error == EINTR && signals_.deadline_passed != 0;
  result.sigbus = sigbus;
  const std::lock_guard lock(mutex_);
  result.kicked = entered.error == EINTR && kick_requested_;
  // From here on Kick leaves kvm_run alone, so that it cannot end the next run.
  in_run_ = false;
  SetImmediateExit(run(), 0);
  return result;
}

VcpuThread::CallResult VcpuThread::EnterGuest() {
  for (;;) {
    const SigbusCatcher catcher;
    const SyscallResult syscall = Issue([&] { return ioctl(fd_.get(), KVM_RUN, 0); });
    const CallResult result{syscall, catcher.caught()};
    if (syscall.error != EINTR || signals_.deadline_passed != 0 || result.sigbus) return result;
    const std::lock_guard lock(mutex_);
    if (kick_requested_) return result;
    // Somebody else's signal (a debugger, the freezer, a kick that came after its run): not an
    // outcome.
  }
}

std::vector<uint8_t> VcpuThread::CopyIoData() const {
  if (run()->exit_reason != KVM_EXIT_IO) return {};
  const uint64_t offset = run()->io.data_offset;
  const uint64_t size = uint64_t{run()->io.size} * run()->io.count;
  const auto pages = run_pages();
  if (offset > pages.size() || size > pages.size() - offset) return {};
  const auto data = pages.subspan(offset, size);
  return {data.begin(), data.end()};
}

void VcpuThread::KickLocked() {
  if (!in_run_ || !thread_.joinable()) return;
  kick_requested_ = true;
  // First the flag, then the signal: a thread that has not reached KVM_RUN yet sees the flag there.
  SetImmediateExit(run(), 1);
  pthread_kill(thread_.native_handle(), KickSignal());
}

void VcpuThread::Kick() {
  const std::lock_guard lock(mutex_);
  KickLocked();
}

void VcpuThread::RequestStop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    KickLocked();
  }
  changed_.notify_all();
}

bool VcpuThread::Stop(std::chrono::steady_clock::time_point limit) {
  // Stopped before, when the environment ended.
  if (!thread_.joinable()) return true;
  RequestStop();
  std::unique_lock lock(mutex_);
  const bool finished = changed_.wait_until(lock, limit, [&] { return finished_; });
  lock.unlock();
  if (finished) {
    thread_.join();
  } else {
    thread_.detach();
  }
  return finished;
}

}  // namespace gmem
