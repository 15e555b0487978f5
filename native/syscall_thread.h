// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_SYSCALL_THREAD_H_
#define GMEM_SYSCALL_THREAD_H_

#include "arguments.h"

namespace gmem {

// The whole of `syscallsOnThread(calls, rounds)`: a thread of its own issues system calls, one
// after the other, again and again, and times each. Calls that block, and calls that race with
// others, need it. Returns the promise of what came of them.
Napi::Value SyscallsOnThread(const Arguments& arguments);

}  // namespace gmem

#endif  // GMEM_SYSCALL_THREAD_H_
