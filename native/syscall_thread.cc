// SPDX-License-Identifier: Apache-2.0
#include "syscall_thread.h"

#include <sched.h>

#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "errno_name.h"
#include "raw_syscall.h"
#include "signals.h"

namespace gmem {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kRoundsMax = 1'000'000;

struct Call {
  explicit Call(RawSyscall syscall) : syscall(std::move(syscall)) {}

  RawSyscall syscall;
  long value = 0;
  // Of each round, with room for all: nothing is allocated between calls, where a page fault of
  // ours would be the one that fault injection fails. 0 is success.
  std::vector<int> errors;
  std::vector<uint64_t> durations_ns;
};

// One thread and what it does. The thread and its completion hold it.
struct Work {
  Work(Napi::Env env, uint32_t rounds)
      : rounds(rounds), deferred(Napi::Promise::Deferred::New(env)) {}

  uint32_t rounds;
  Napi::Promise::Deferred deferred;
  Napi::ThreadSafeFunction completion;
  std::vector<Call> calls;
  std::thread thread;
};

// Written to once, not reserved only: memory that is touched for the first time faults.
template <typename T>
void MakeRoom(std::vector<T>* values, uint32_t rounds) {
  values->assign(rounds, T{});
  values->clear();
}

void Issue(Call* call) {
  const auto start = Clock::now();
  const SyscallResult result = call->syscall.Issue();
  const auto duration = Clock::now() - start;
  call->value = result.value;
  call->errors.push_back(result.error);
  call->durations_ns.push_back(static_cast<uint64_t>(std::chrono::nanoseconds(duration).count()));
}

Napi::Object Describe(Napi::Env env, const Call& call) {
  std::map<int, uint32_t> counts;
  for (const int error : call.errors) counts[error]++;
  Napi::Object errors = Napi::Object::New(env);
  for (const auto& [error, count] : counts)
    errors[error == 0 ? "" : ErrnoName(error)] = Napi::Number::New(env, count);
  Napi::Object result = Napi::Object::New(env);
  result["value"] = Napi::BigInt::New(env, int64_t{call.value});
  result["errors"] = errors;
  const auto durations = std::as_bytes(std::span(call.durations_ns));
  result["durationsNs"] =
      CopyToUint8Array(env, {reinterpret_cast<const uint8_t*>(durations.data()), durations.size()});
  return result;
}

void Complete(Napi::Env env, Work* work) {
  work->thread.join();
  Napi::Array results = Napi::Array::New(env, work->calls.size());
  for (size_t i = 0; i < work->calls.size(); i++)
    results[static_cast<uint32_t>(i)] = Describe(env, work->calls[i]);
  work->deferred.Resolve(results);
  work->completion.Release();
}

// Threads race on several processors, also where the process keeps to one.
void AllowEveryProcessor() {
  cpu_set_t all;
  std::memset(&all, 0xff, sizeof(all));
  sched_setaffinity(0, sizeof(all), &all);
}

void Run(const std::shared_ptr<Work>& work) {
  AllowEveryProcessor();
  for (uint32_t round = 0; round < work->rounds; round++)
    for (Call& call : work->calls) Issue(&call);
  const auto status = work->completion.BlockingCall(
      [work](Napi::Env env, Napi::Function) { Complete(env, work.get()); });
  // The environment has ended: nobody will join this thread.
  if (status != napi_ok) work->thread.detach();
}

// Signals are for the threads that know what to do with them, but those of its own accesses.
std::thread StartWithoutSignals(const std::shared_ptr<Work>& work) {
  const BlockForeignSignals block;
  return std::thread([work] { Run(work); });
}

}  // namespace

Napi::Value SyscallsOnThread(const Arguments& arguments) {
  if (!arguments[0].IsArray()) arguments.ThrowTypeError("calls must be an array");
  const auto list = arguments[0].As<Napi::Array>();
  const uint32_t rounds = arguments.Uint32(1, "rounds");
  if (rounds == 0 || rounds > kRoundsMax)
    arguments.ThrowRangeError("rounds must be from 1 to 1000000");

  const auto work = std::make_shared<Work>(arguments.env(), rounds);
  for (uint32_t i = 0; i < list.Length(); i++) {
    const Napi::Value call = list.Get(i);
    if (!call.IsObject()) arguments.ThrowTypeError("calls must be objects");
    const Napi::Value number = call.As<Napi::Object>().Get("number");
    if (!number.IsNumber()) arguments.ThrowTypeError("number must be a number");
    const Napi::Value args = call.As<Napi::Object>().Get("args");
    work->calls.emplace_back(RawSyscall(arguments, number.As<Napi::Number>().Uint32Value(), args));
    MakeRoom(&work->calls.back().errors, rounds);
    MakeRoom(&work->calls.back().durations_ns, rounds);
  }
  const auto nothing = Napi::Function::New(arguments.env(), [](const Napi::CallbackInfo&) {});
  work->completion =
      Napi::ThreadSafeFunction::New(arguments.env(), nothing, "gmem system calls", 0, 1);
  // Joined by Complete, which the thread asks for.
  work->thread = StartWithoutSignals(work);
  return work->deferred.Promise();
}

}  // namespace gmem
