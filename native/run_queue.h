// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_RUN_QUEUE_H_
#define GMEM_RUN_QUEUE_H_

#include <napi.h>

#include <functional>
#include <memory>
#include <mutex>
#include <set>

#include "vcpu_thread.h"

namespace gmem {

// Brings finished runs from the vCPU threads of one environment to its JavaScript thread, and stops
// these threads when the environment ends. One for all vCPUs, so that its clean-up hook is certain
// to run before the thread-safe function's own.
class RunQueue : public std::enable_shared_from_this<RunQueue> {
 public:
  // Runs on the JavaScript thread.
  using Completion = std::function<void(Napi::Env)>;

  explicit RunQueue(Napi::Env env);

  // JavaScript thread: a thread to stop at the end, and not any more.
  void Add(const std::shared_ptr<VcpuThread>& thread) { threads_.insert(thread); }
  void Remove(const std::shared_ptr<VcpuThread>& thread) { threads_.erase(thread); }

  // JavaScript thread: while runs are under way the event loop stays alive.
  void BeginRun(Napi::Env env);
  void EndRun(Napi::Env env);

  // vCPU thread. The completion is dropped when the environment has ended.
  void Deliver(Completion completion);

 private:
  static void CallJs(Napi::Env env, Napi::Function, std::nullptr_t*, Completion* completion);
  using Function = Napi::TypedThreadSafeFunction<std::nullptr_t, Completion, CallJs>;

  void Shutdown();

  std::mutex mutex_;
  Function function_;
  bool closed_ = false;

  size_t runs_ = 0;
  std::set<std::shared_ptr<VcpuThread>> threads_;
};

}  // namespace gmem

#endif  // GMEM_RUN_QUEUE_H_
