// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_GUARDED_ACCESS_H_
#define GMEM_GUARDED_ACCESS_H_

#include <cstddef>
#include <cstdint>

#include "signals.h"

namespace gmem {

// Accesses to memory that may fault. All go through the range upwards, so that the fault's address
// is the first byte that could not be accessed. False means a fault, described in *fault.

bool GuardedCopy(uint8_t* destination, const uint8_t* source, size_t length, Fault* fault);
bool GuardedFill(uint8_t* destination, size_t length, uint8_t byte, Fault* fault);

struct Mismatch {
  bool found;
  size_t offset;
  uint8_t actual;
};
bool GuardedFindMismatch(const uint8_t* source, size_t length, uint8_t byte, Mismatch* mismatch,
                         Fault* fault);

// One load or store of 1, 2, 4 or 8 bytes, by one instruction.
struct Access {
  uint8_t* address;
  uint32_t width;
  bool write;
  // Zero-extended.
  uint64_t value;
};
bool GuardedAccess(Access* access, Fault* fault);

}  // namespace gmem

#endif  // GMEM_GUARDED_ACCESS_H_
