// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_SYSTEM_CALLS_H_
#define GMEM_SYSTEM_CALLS_H_

#include <napi.h>

namespace gmem {

// The addon's functions that belong to no object, one system call each: Addon of
// src/binding/addon.ts.
void DefineSystemCalls(Napi::Env env, Napi::Object exports);

}  // namespace gmem

#endif  // GMEM_SYSTEM_CALLS_H_
