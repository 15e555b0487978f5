// SPDX-License-Identifier: Apache-2.0
#include "run_queue.h"

#include <utility>

namespace gmem {

RunQueue::RunQueue(Napi::Env env) {
  function_ = Function::New(env, "gmem vCPU runs", 0, 1);
  function_.Unref(env);
  // After the thread-safe function: hooks run in reverse order.
  env.AddCleanupHook([](RunQueue* queue) { queue->Shutdown(); }, this);
}

void RunQueue::BeginRun(Napi::Env env) {
  if (runs_++ == 0) function_.Ref(env);
}

void RunQueue::EndRun(Napi::Env env) {
  if (--runs_ == 0) function_.Unref(env);
}

void RunQueue::Deliver(Completion completion) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  auto owned = std::make_unique<Completion>(std::move(completion));
  if (function_.BlockingCall(owned.get()) == napi_ok) owned.release();
}

void RunQueue::CallJs(Napi::Env env, Napi::Function, std::nullptr_t*, Completion* completion) {
  const std::unique_ptr<Completion> owned(completion);
  // Without an environment there is nobody left to tell.
  if (env != nullptr) (*owned)(env);
}

void RunQueue::Shutdown() {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  const auto threads = std::exchange(threads_, {});
  for (const auto& thread : threads) thread->RequestStop();
  for (const auto& thread : threads) thread->Stop(limit);
  const std::lock_guard lock(mutex_);
  closed_ = true;
  function_.Abort();
}

}  // namespace gmem
