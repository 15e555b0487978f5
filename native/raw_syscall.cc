// SPDX-License-Identifier: Apache-2.0
#include "raw_syscall.h"

#include <unistd.h>

#include <cerrno>
#include <cmath>

#include "guarded_access.h"
#include "signals.h"

namespace gmem {

RawSyscall::RawSyscall(const Arguments& arguments, uint32_t number, Napi::Value args)
    : number_(number) {
  if (number == kCopyNumber) InstallSignalHandlers();
  if (!args.IsArray()) arguments.ThrowTypeError("args must be an array");
  const auto array = args.As<Napi::Array>();
  if (array.Length() > kArgumentsMax)
    arguments.ThrowTypeError("args must have at most six elements");
  for (uint32_t i = 0; i < array.Length(); i++) args_[i] = Parse(arguments, array.Get(i));
}

long RawSyscall::Parse(const Arguments& arguments, Napi::Value value) {
  constexpr const char* kExpected =
      "args must be bigints of 64 bits, safe integers, Uint8Arrays or null";
  if (value.IsNull()) return 0;
  if (value.IsNumber()) {
    const double number = value.As<Napi::Number>().DoubleValue();
    if (std::trunc(number) != number || std::abs(number) > 9007199254740991.0)
      arguments.ThrowTypeError(kExpected);
    return static_cast<long>(number);
  }
  if (value.IsBigInt()) {
    const auto bigint = value.As<Napi::BigInt>();
    bool lossless = false;
    const uint64_t bits = bigint.Uint64Value(&lossless);
    if (lossless) return static_cast<long>(bits);
    const int64_t number = bigint.Int64Value(&lossless);
    if (lossless) return number;
    arguments.ThrowTypeError(kExpected);
  }
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    arguments.ThrowTypeError(kExpected);
  }
  auto array = value.As<Napi::Uint8Array>();
  buffers_.emplace_back(std::span<const uint8_t>(array.Data(), array.ByteLength()));
  return reinterpret_cast<long>(buffers_.back().data());
}

SyscallResult RawSyscall::Issue() const {
  if (number_ == kCopyNumber) return gmem::Issue([this] { return Copy(); });
  return gmem::Issue([&] {
    return ::syscall(number_, args_[0], args_[1], args_[2], args_[3], args_[4], args_[5]);
  });
}

long RawSyscall::Copy() const {
  Fault fault;
  if (GuardedCopy(reinterpret_cast<uint8_t*>(args_[0]), reinterpret_cast<const uint8_t*>(args_[1]),
                  static_cast<size_t>(args_[2]), &fault)) {
    return args_[2];
  }
  errno = EFAULT;
  return -1;
}

void RawSyscall::WriteBack(const Napi::Array& args) const {
  size_t next = 0;
  for (uint32_t i = 0; i < args.Length(); i++) {
    const Napi::Value value = args.Get(i);
    if (!value.IsTypedArray()) continue;
    auto bytes = value.As<Napi::Uint8Array>();
    buffers_[next++].CopyTo({bytes.Data(), bytes.ByteLength()});
  }
}

}  // namespace gmem
