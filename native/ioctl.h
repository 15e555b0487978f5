// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_IOCTL_H_
#define GMEM_IOCTL_H_

#include <cstdint>
#include <optional>
#include <string>

#include "arguments.h"
#include "guarded_buffer.h"
#include "kernel_error.h"

namespace gmem {

// The third argument of an ioctl as JavaScript gave it: bytes by address, a bigint by value, null
// as 0.
class IoctlArgument {
 public:
  IoctlArgument(const Arguments& arguments, size_t index, const char* name);

  unsigned long value() const { return value_; }
  // Hands what the kernel wrote back to the Uint8Array.
  void WriteBack();

 private:
  std::span<uint8_t> bytes_;
  std::optional<GuardedBuffer> buffer_;
  unsigned long value_ = 0;
};

SyscallResult Ioctl(int fd, unsigned long request, unsigned long argument);
SyscallResult Ioctl(int fd, unsigned long request, void* argument);

// `ioctl(0xae41)`: how an error names an ioctl that has no method of its own.
std::string IoctlName(uint32_t request);

// The whole of an `ioctl(request, argument)` method on `fd`, arguments 0 and 1.
Napi::Value IoctlMethod(const Arguments& arguments, int fd, size_t first);

}  // namespace gmem

#endif  // GMEM_IOCTL_H_
