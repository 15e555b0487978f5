// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_KERNEL_ERROR_H_
#define GMEM_KERNEL_ERROR_H_

#include <napi.h>

#include <cerrno>
#include <string>
#include <utility>

namespace gmem {

// What a system call returned, with errno saved before anything can change it.
struct SyscallResult {
  long value;
  // 0 where the call succeeded.
  int error;
};

template <typename Call>
SyscallResult Issue(Call&& call) {
  const long value = std::forward<Call>(call)();
  const int error = errno;
  return {value, value == -1 ? error : 0};
}

// Throws the KernelError class that JavaScript registered with addon.initialize.
[[noreturn]] void ThrowKernelError(Napi::Env env, int error, const std::string& syscall);

// The value of a successful call; a KernelError otherwise.
inline long Checked(Napi::Env env, SyscallResult result, const char* syscall) {
  if (result.error != 0) ThrowKernelError(env, result.error, syscall);
  return result.value;
}

}  // namespace gmem

#endif  // GMEM_KERNEL_ERROR_H_
