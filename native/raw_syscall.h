// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_RAW_SYSCALL_H_
#define GMEM_RAW_SYSCALL_H_

#include <array>
#include <span>
#include <vector>

#include "arguments.h"
#include "guarded_buffer.h"
#include "kernel_error.h"

namespace gmem {

// Not a system call: a guarded copy of args[2] bytes from args[1] to args[0], which fails with
// EFAULT where memory cannot be accessed. So that copying can be timed and raced like system calls.
constexpr uint32_t kCopyNumber = UINT32_MAX;

// A call of syscall(2) as JavaScript gave it: bigints and integers by value, a Uint8Array by the
// address of a guarded copy, which lives as long as this.
class RawSyscall {
 public:
  // Throws a TypeError that names the method of `arguments`.
  RawSyscall(const Arguments& arguments, uint32_t number, Napi::Value args);

  SyscallResult Issue() const;
  // Hands what the kernel wrote back to the Uint8Arrays in `args`, which this was made of.
  void WriteBack(const Napi::Array& args) const;

 private:
  static constexpr uint32_t kArgumentsMax = 6;

  long Copy() const;
  long Parse(const Arguments& arguments, Napi::Value value);

  uint32_t number_;
  std::array<long, kArgumentsMax> args_{};
  std::vector<GuardedBuffer> buffers_;
};

}  // namespace gmem

#endif  // GMEM_RAW_SYSCALL_H_
