// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_FORKED_H_
#define GMEM_FORKED_H_

#include <cstddef>
#include <string>

namespace gmem {

// How a forked child ended.
struct ForkedOutcome {
  // True where the whole report arrived.
  bool reported = false;
  // The system call that failed in the parent, with its errno; empty if none did.
  std::string failed_syscall;
  int error = 0;
  // What else went wrong, in words.
  std::string problem;
};

// Forks; the child calls body(context), sends the `size` bytes of `context` back through a pipe and
// exits. The body may only make async-signal-safe calls: other threads of the parent may have held
// any lock. Waits for 5 s at most, then kills the child.
ForkedOutcome RunForked(void (*body)(void*), void* context, size_t size);

}  // namespace gmem

#endif  // GMEM_FORKED_H_
