// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_MEMORY_ACCESS_ERROR_H_
#define GMEM_MEMORY_ACCESS_ERROR_H_

#include <napi.h>

#include <optional>

#include "arguments.h"
#include "signals.h"

namespace gmem {

const char* SignalName(int signal);

// Throws an Error with { name: 'MemoryAccessError', signal, code, address }.
[[noreturn]] void ThrowMemoryAccessError(const Arguments& arguments, const Fault& fault);

// { signal, code, address }, or null.
Napi::Value ToSignal(Napi::Env env, const std::optional<Fault>& fault);

}  // namespace gmem

#endif  // GMEM_MEMORY_ACCESS_ERROR_H_
