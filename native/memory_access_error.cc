// SPDX-License-Identifier: Apache-2.0
#include "memory_access_error.h"

#include <cstdio>
#include <string>

namespace gmem {

const char* SignalName(int signal) { return signal == SIGBUS ? "SIGBUS" : "SIGSEGV"; }

void ThrowMemoryAccessError(const Arguments& arguments, const Fault& fault) {
  const Napi::Env env = arguments.env();
  char address[32];
  std::snprintf(address, sizeof(address), "0x%llx", static_cast<unsigned long long>(fault.address));
  const Napi::Error error =
      Napi::Error::New(env, std::string(arguments.method()) + ": " + SignalName(fault.signal) +
                                " (code " + std::to_string(fault.code) + ") at hva " + address);
  error.Set("name", Napi::String::New(env, "MemoryAccessError"));
  error.Set("signal", Napi::String::New(env, SignalName(fault.signal)));
  error.Set("code", Napi::Number::New(env, fault.code));
  error.Set("address", Napi::BigInt::New(env, fault.address));
  throw error;
}

Napi::Value ToSignal(Napi::Env env, const std::optional<Fault>& fault) {
  if (!fault) return env.Null();
  Napi::Object signal = Napi::Object::New(env);
  signal["signal"] = Napi::String::New(env, SignalName(fault->signal));
  signal["code"] = Napi::Number::New(env, fault->code);
  signal["address"] = Napi::BigInt::New(env, fault->address);
  return signal;
}

}  // namespace gmem
