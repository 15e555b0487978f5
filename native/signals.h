// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_SIGNALS_H_
#define GMEM_SIGNALS_H_

#include <linux/kvm.h>

#include <csignal>
#include <cstdint>
#include <optional>

namespace gmem {

// What stopped a memory access: siginfo_t's si_signo, si_code and si_addr.
struct Fault {
  int signal;
  int code;
  uint64_t address;
};

// Calls body(context) with SIGBUS and SIGSEGV caught on this thread. False, with *fault filled,
// where the body was cut short by one. The body must hold no object with a destructor, and must
// touch nothing but memory: it is left by siglongjmp.
bool RunGuarded(void (*body)(void*), void* context, Fault* fault);

// While it lives, a SIGBUS that the kernel sends this thread for poisoned memory (BUS_MCEERR_*) is
// noted instead of deadly: it comes out of system calls such as KVM_RUN and madvise(MADV_HWPOISON),
// which go on and return.
class SigbusCatcher {
 public:
  SigbusCatcher();
  SigbusCatcher(const SigbusCatcher&) = delete;
  SigbusCatcher& operator=(const SigbusCatcher&) = delete;
  ~SigbusCatcher();

  // The first one that came.
  std::optional<Fault> caught() const;

  // For the handler.
  void Note(const Fault& fault);

 private:
  SigbusCatcher* outer_;
  volatile sig_atomic_t noted_ = 0;
  Fault fault_{};
};

// What the signal handlers and a vCPU's thread tell each other. Touched by that thread only.
struct VcpuSignals {
  kvm_run* run = nullptr;
  // Set while a run has a deadline: a timer's signal outside means nothing.
  volatile sig_atomic_t deadline_armed = 0;
  volatile sig_atomic_t deadline_passed = 0;
};

// Makes `signals` the state of the calling thread, or none.
void SetVcpuSignals(VcpuSignals* signals);

// The real-time signal that ends a KVM_RUN. Its handler is installed without SA_RESTART.
int KickSignal();

// Blocks all signals that a vCPU's thread (and a forked probe) has no business with, for the life
// of this object: the threads and processes created meanwhile inherit the mask.
class BlockForeignSignals {
 public:
  BlockForeignSignals();
  BlockForeignSignals(const BlockForeignSignals&) = delete;
  BlockForeignSignals& operator=(const BlockForeignSignals&) = delete;
  ~BlockForeignSignals();

 private:
  sigset_t previous_;
};

// Installs the handlers, once per process. Signals that are not ours go to the handlers found then
// (V8's, libuv's).
void InstallSignalHandlers();

}  // namespace gmem

#endif  // GMEM_SIGNALS_H_
