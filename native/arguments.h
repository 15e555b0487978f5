// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_ARGUMENTS_H_
#define GMEM_ARGUMENTS_H_

#include <napi.h>

#include <cstdint>
#include <span>
#include <string>

namespace gmem {

// The arguments of one call from JavaScript, checked without any silent conversion: a TypeError
// names the method, the argument and what it should have been.
class Arguments {
 public:
  // `method` is what the messages name, for example "Vm.createVcpu". It must outlive this object.
  Arguments(const Napi::CallbackInfo& info, const char* method) : info_(info), method_(method) {}

  Napi::Env env() const { return info_.Env(); }
  const char* method() const { return method_; }
  Napi::Value operator[](size_t index) const { return info_[index]; }

  uint32_t Uint32(size_t index, const char* name) const;
  int32_t Int32(size_t index, const char* name) const;
  // A bigint of at most 64 bits, not negative.
  uint64_t Uint64(size_t index, const char* name) const;
  // A byte count as a number, up to kSizeMax.
  size_t Size(size_t index, const char* name) const;
  double Number(size_t index, const char* name) const;
  std::string String(size_t index, const char* name) const;
  // The bytes of a Uint8Array, valid until control returns to JavaScript.
  std::span<uint8_t> Bytes(size_t index, const char* name) const;
  // The same, of exactly `size` bytes.
  std::span<uint8_t> BytesOfSize(size_t index, const char* name, size_t size) const;
  bool IsNull(size_t index) const { return info_[index].IsNull(); }

  [[noreturn]] void ThrowTypeError(const std::string& what) const;
  [[noreturn]] void ThrowRangeError(const std::string& what) const;
  [[noreturn]] void ThrowClosed() const { ThrowTypeError("the object is closed"); }

  static constexpr size_t kSizeMax = 0x7fffffff;

 private:
  [[noreturn]] void ThrowWrong(const char* name, const char* expected) const;
  double Integer(size_t index, const char* name, double min, double max,
                 const char* expected) const;

  const Napi::CallbackInfo& info_;
  const char* method_;
};

// The signed 64-bit quantity (off_t) with the same bits: what a caller who passes 2n ** 64n - 1n
// means.
inline int64_t AsSigned(uint64_t value) { return static_cast<int64_t>(value); }

Napi::Uint8Array CopyToUint8Array(Napi::Env env, std::span<const uint8_t> bytes);

}  // namespace gmem

#endif  // GMEM_ARGUMENTS_H_
