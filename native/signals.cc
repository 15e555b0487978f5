// SPDX-License-Identifier: Apache-2.0
#include "signals.h"

#include <pthread.h>
#include <setjmp.h>

#include <atomic>
#include <mutex>

namespace gmem {
namespace {

struct Guard {
  sigjmp_buf landing;
  Fault fault;
};

// initial-exec: a handler may run on a thread that never touched these, where the usual lazy
// allocation of a library's thread-local storage would call malloc inside the handler.
#define GMEM_HANDLER_LOCAL thread_local __attribute__((tls_model("initial-exec")))
GMEM_HANDLER_LOCAL Guard* current_guard = nullptr;
GMEM_HANDLER_LOCAL SigbusCatcher* current_catcher = nullptr;
GMEM_HANDLER_LOCAL VcpuSignals* current_vcpu = nullptr;

struct sigaction previous_sigbus;
struct sigaction previous_sigsegv;

bool IsPoison(int signal, const siginfo_t* info) {
  return signal == SIGBUS && (info->si_code == BUS_MCEERR_AR || info->si_code == BUS_MCEERR_AO);
}

void Chain(const struct sigaction& previous, int signal, siginfo_t* info, void* context) {
  if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr) {
    previous.sa_sigaction(signal, info, context);
    return;
  }
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal);
    return;
  }
  // The default action: with the handler gone the same instruction faults again, and the core shows
  // where.
  struct sigaction fallback = {};
  fallback.sa_handler = SIG_DFL;
  sigaction(signal, &fallback, nullptr);
  // What was sent, by a process or for poisoned memory, does not come again by itself.
  if (info->si_code <= 0 || IsPoison(signal, info)) raise(signal);
}

void OnMemoryFault(int signal, siginfo_t* info, void* context) {
  const Fault fault{signal, info->si_code, reinterpret_cast<uint64_t>(info->si_addr)};
  const bool from_kernel = info->si_code > 0;
  const bool advisory = signal == SIGBUS && info->si_code == BUS_MCEERR_AO;
  Guard* guard = current_guard;
  if (guard != nullptr && from_kernel && !advisory) {
    guard->fault = fault;
    current_guard = nullptr;
    siglongjmp(guard->landing, 1);
  }
  if (current_catcher != nullptr && IsPoison(signal, info)) {
    current_catcher->Note(fault);
    return;
  }
  Chain(signal == SIGBUS ? previous_sigbus : previous_sigsegv, signal, info, context);
}

void OnKick(int, siginfo_t* info, void*) {
  VcpuSignals* vcpu = current_vcpu;
  if (vcpu == nullptr || info->si_code != SI_TIMER || vcpu->deadline_armed == 0) return;
  vcpu->deadline_passed = 1;
  // Set here, on the thread itself: whether the signal came just before KVM_RUN or inside it,
  // KVM_RUN ends.
  std::atomic_ref<__u8>(vcpu->run->immediate_exit).store(1);
}

void Install(int signal, void (*handler)(int, siginfo_t*, void*), int flags,
             struct sigaction* previous) {
  struct sigaction action = {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | flags;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, previous);
}

}  // namespace

bool RunGuarded(void (*body)(void*), void* context, Fault* fault) {
  Guard guard;
  // The mask need not be saved: SA_NODEFER leaves it alone.
  if (sigsetjmp(guard.landing, 0) != 0) {
    *fault = guard.fault;
    return false;
  }
  current_guard = &guard;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  body(context);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  current_guard = nullptr;
  return true;
}

SigbusCatcher::SigbusCatcher() : outer_(current_catcher) { current_catcher = this; }

SigbusCatcher::~SigbusCatcher() { current_catcher = outer_; }

void SigbusCatcher::Note(const Fault& fault) {
  if (noted_ != 0) return;
  fault_ = fault;
  noted_ = 1;
}

std::optional<Fault> SigbusCatcher::caught() const {
  if (noted_ == 0) return std::nullopt;
  return fault_;
}

void SetVcpuSignals(VcpuSignals* signals) { current_vcpu = signals; }

int KickSignal() { return SIGRTMIN + 7; }

BlockForeignSignals::BlockForeignSignals() {
  sigset_t foreign;
  sigfillset(&foreign);
  for (const int signal :
       {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, KickSignal()}) {
    sigdelset(&foreign, signal);
  }
  pthread_sigmask(SIG_SETMASK, &foreign, &previous_);
}

BlockForeignSignals::~BlockForeignSignals() { pthread_sigmask(SIG_SETMASK, &previous_, nullptr); }

void InstallSignalHandlers() {
  static std::once_flag once;
  std::call_once(once, [] {
    // SA_ONSTACK: V8's own overflow handling may need the alternate stack that the chained handler
    // expects.
    Install(SIGBUS, OnMemoryFault, SA_NODEFER | SA_ONSTACK, &previous_sigbus);
    Install(SIGSEGV, OnMemoryFault, SA_NODEFER | SA_ONSTACK, &previous_sigsegv);
    Install(KickSignal(), OnKick, 0, nullptr);
  });
}

}  // namespace gmem
