// SPDX-License-Identifier: Apache-2.0
#include "arguments.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace gmem {

uint32_t Arguments::Uint32(size_t index, const char* name) const {
  return static_cast<uint32_t>(
      Integer(index, name, 0, std::numeric_limits<uint32_t>::max(), "an unsigned 32-bit integer"));
}

int32_t Arguments::Int32(size_t index, const char* name) const {
  return static_cast<int32_t>(Integer(index, name, std::numeric_limits<int32_t>::min(),
                                      std::numeric_limits<int32_t>::max(),
                                      "a signed 32-bit integer"));
}

uint64_t Arguments::Uint64(size_t index, const char* name) const {
  constexpr const char* kExpected = "a bigint from 0n to 2n ** 64n - 1n";
  if (!info_[index].IsBigInt()) ThrowWrong(name, kExpected);
  bool lossless = false;
  const uint64_t value = info_[index].As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) ThrowWrong(name, kExpected);
  return value;
}

size_t Arguments::Size(size_t index, const char* name) const {
  return static_cast<size_t>(
      Integer(index, name, 0, static_cast<double>(kSizeMax), "an integer from 0 to 2 ** 31 - 1"));
}

double Arguments::Number(size_t index, const char* name) const {
  if (!info_[index].IsNumber()) ThrowWrong(name, "a number");
  return info_[index].As<Napi::Number>().DoubleValue();
}

std::string Arguments::String(size_t index, const char* name) const {
  if (!info_[index].IsString()) ThrowWrong(name, "a string");
  return info_[index].As<Napi::String>().Utf8Value();
}

std::span<uint8_t> Arguments::Bytes(size_t index, const char* name) const {
  const Napi::Value value = info_[index];
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    ThrowWrong(name, "a Uint8Array");
  }
  auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.ByteLength()};
}

std::span<uint8_t> Arguments::BytesOfSize(size_t index, const char* name, size_t size) const {
  const std::span<uint8_t> bytes = Bytes(index, name);
  if (bytes.size() != size) {
    ThrowTypeError(std::string(name) + " must have " + std::to_string(size) + " bytes, not " +
                   std::to_string(bytes.size()));
  }
  return bytes;
}

double Arguments::Integer(size_t index, const char* name, double min, double max,
                          const char* expected) const {
  if (!info_[index].IsNumber()) ThrowWrong(name, expected);
  const double value = info_[index].As<Napi::Number>().DoubleValue();
  if (!(value >= min && value <= max) || std::trunc(value) != value) ThrowWrong(name, expected);
  return value;
}

void Arguments::ThrowWrong(const char* name, const char* expected) const {
  ThrowTypeError(std::string(name) + " must be " + expected);
}

void Arguments::ThrowTypeError(const std::string& what) const {
  throw Napi::TypeError::New(info_.Env(), std::string(method_) + ": " + what);
}

void Arguments::ThrowRangeError(const std::string& what) const {
  throw Napi::RangeError::New(info_.Env(), std::string(method_) + ": " + what);
}

Napi::Uint8Array CopyToUint8Array(Napi::Env env, std::span<const uint8_t> bytes) {
  Napi::Uint8Array array = Napi::Uint8Array::New(env, bytes.size());
  // SAFETY: the array was made with exactly this size.
  if (!bytes.empty()) std::memcpy(array.Data(), bytes.data(), bytes.size());
  return array;
}

}  // namespace gmem
