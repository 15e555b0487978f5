// SPDX-License-Identifier: Apache-2.0
#include "ioctl.h"

#include <sys/ioctl.h>

#include <cstdio>

#include "memory_access_error.h"

namespace gmem {

IoctlArgument::IoctlArgument(const Arguments& arguments, size_t index, const char* name) {
  const Napi::Value value = arguments[index];
  if (value.IsNull()) return;
  if (value.IsBigInt()) {
    value_ = arguments.Uint64(index, name);
    return;
  }
  if (!value.IsTypedArray()) {
    arguments.ThrowTypeError(std::string(name) + " must be a Uint8Array, a bigint or null");
  }
  bytes_ = arguments.Bytes(index, name);
  buffer_.emplace(bytes_);
  value_ = reinterpret_cast<unsigned long>(buffer_->data());
}

void IoctlArgument::WriteBack() {
  if (buffer_) buffer_->CopyTo(bytes_);
}

SyscallResult Ioctl(int fd, unsigned long request, unsigned long argument) {
  return Issue([&] { return ::ioctl(fd, request, argument); });
}

SyscallResult Ioctl(int fd, unsigned long request, void* argument) {
  return Ioctl(fd, request, reinterpret_cast<unsigned long>(argument));
}

std::string IoctlName(uint32_t request) {
  char name[32];
  std::snprintf(name, sizeof(name), "ioctl(0x%x)", request);
  return name;
}

Napi::Value IoctlMethod(const Arguments& arguments, int fd, size_t first) {
  const uint32_t request = arguments.Uint32(first, "request");
  IoctlArgument argument(arguments, first + 1, "argument");
  const SigbusCatcher catcher;
  const SyscallResult result = Ioctl(fd, request, argument.value());
  argument.WriteBack();
  if (const auto fault = catcher.caught()) ThrowMemoryAccessError(arguments, *fault);
  const long value = Checked(arguments.env(), result, IoctlName(request).c_str());
  return Napi::Number::New(arguments.env(), static_cast<double>(value));
}

}  // namespace gmem
