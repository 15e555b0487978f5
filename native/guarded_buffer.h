// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_GUARDED_BUFFER_H_
#define GMEM_GUARDED_BUFFER_H_

#include <cstdint>
#include <span>

#include "unique_mapping.h"

namespace gmem {

// A copy of some bytes that ends at an inaccessible page: a kernel that reads or writes more than
// the caller handed over answers EFAULT, as it would a program's own struct cut short, and
// overwrites nothing of ours.
class GuardedBuffer {
 public:
  // Throws std::bad_alloc.
  explicit GuardedBuffer(std::span<const uint8_t> bytes);

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  void CopyTo(std::span<uint8_t> bytes) const;

 private:
  UniqueMapping mapping_;
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace gmem

#endif  // GMEM_GUARDED_BUFFER_H_
