// SPDX-License-Identifier: Apache-2.0
#include "guarded_access.h"

#include <cstring>

#ifndef __x86_64__
#error "gmem drives x86-64 KVM only"
#endif

namespace gmem {
namespace {

struct Copy {
  uint8_t* destination;
  const uint8_t* source;
  size_t length;
};

// In assembly, not memcpy: libc's goes through the range in its own order, and a fault would have
// its address. By quadwords, because emulated CPUs do string instructions one element at a time.
void CopyBody(void* context) {
  const auto* copy = static_cast<const Copy*>(context);
  void* destination = copy->destination;
  const void* source = copy->source;
  size_t quadwords = copy->length / 8;
  size_t bytes = copy->length % 8;
  asm volatile("rep movsq" : "+D"(destination), "+S"(source), "+c"(quadwords) : : "memory");
  asm volatile("rep movsb" : "+D"(destination), "+S"(source), "+c"(bytes) : : "memory");
}

struct Fill {
  uint8_t* destination;
  size_t length;
  uint8_t byte;
};

constexpr uint64_t Repeat(uint8_t byte) { return 0x0101010101010101ULL * byte; }

void FillBody(void* context) {
  const auto* fill = static_cast<const Fill*>(context);
  void* destination = fill->destination;
  size_t quadwords = fill->length / 8;
  size_t bytes = fill->length % 8;
  const uint64_t value = Repeat(fill->byte);
  asm volatile("rep stosq" : "+D"(destination), "+c"(quadwords) : "a"(value) : "memory");
  asm volatile("rep stosb" : "+D"(destination), "+c"(bytes) : "a"(value) : "memory");
}

inline uint64_t Load64(const uint8_t* source) {
  uint64_t value;
  asm volatile("movq (%1), %0" : "=r"(value) : "r"(source) : "memory");
  return value;
}

inline uint8_t Load8(const uint8_t* source) {
  uint8_t value;
  asm volatile("movb (%1), %0" : "=q"(value) : "r"(source) : "memory");
  return value;
}

struct Find {
  const uint8_t* source;
  size_t length;
  uint8_t byte;
  Mismatch mismatch;
};

void FindBody(void* context) {
  auto* find = static_cast<Find*>(context);
  const uint64_t expected = Repeat(find->byte);
  size_t offset = 0;
  for (; find->length - offset >= 8; offset += 8) {
    const uint64_t actual = Load64(find->source + offset);
    if (actual == expected) continue;
    // The byte that was loaded, not a second look: somebody may be writing.
    const int shift = __builtin_ctzll(actual ^ expected) & ~7;
    find->mismatch = {true, offset + static_cast<size_t>(shift / 8),
                      static_cast<uint8_t>(actual >> shift)};
    return;
  }
  for (; offset < find->length; offset++) {
    const uint8_t actual = Load8(find->source + offset);
    if (actual == find->byte) continue;
    find->mismatch = {true, offset, actual};
    return;
  }
}

void AccessBody(void* context) {
  auto* access = static_cast<Access*>(context);
  uint8_t* address = access->address;
  uint64_t value = access->value;
  if (access->write) {
    switch (access->width) {
      case 1:
        asm volatile("movb %b0, (%1)" : : "q"(value), "r"(address) : "memory");
        break;
      case 2:
        asm volatile("movw %w0, (%1)" : : "r"(value), "r"(address) : "memory");
        break;
      case 4:
        asm volatile("movl %k0, (%1)" : : "r"(value), "r"(address) : "memory");
        break;
      default:
        asm volatile("movq %0, (%1)" : : "r"(value), "r"(address) : "memory");
    }
    return;
  }
  switch (access->width) {
    case 1:
      asm volatile("movzbl (%1), %k0" : "=r"(value) : "r"(address) : "memory");
      break;
    case 2:
      asm volatile("movzwl (%1), %k0" : "=r"(value) : "r"(address) : "memory");
      break;
    case 4:
      asm volatile("movl (%1), %k0" : "=r"(value) : "r"(address) : "memory");
      break;
    default:
      asm volatile("movq (%1), %0" : "=r"(value) : "r"(address) : "memory");
  }
  access->value = value;
}

}  // namespace

bool GuardedCopy(uint8_t* destination, const uint8_t* source, size_t length, Fault* fault) {
  Copy copy{destination, source, length};
  return RunGuarded(CopyBody, &copy, fault);
}

bool GuardedFill(uint8_t* destination, size_t length, uint8_t byte, Fault* fault) {
  Fill fill{destination, length, byte};
  return RunGuarded(FillBody, &fill, fault);
}

bool GuardedFindMismatch(const uint8_t* source, size_t length, uint8_t byte, Mismatch* mismatch,
                         Fault* fault) {
  Find find{source, length, byte, {false, 0, 0}};
  const bool ok = RunGuarded(FindBody, &find, fault);
  *mismatch = find.mismatch;
  return ok;
}

bool GuardedAccess(Access* access, Fault* fault) { return RunGuarded(AccessBody, access, fault); }

}  // namespace gmem
