// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_UNIQUE_MAPPING_H_
#define GMEM_UNIQUE_MAPPING_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gmem {

// The only holder of a raw mmap address. Unmaps once, and only what is still its own: an address
// range that was unmapped in between may meanwhile belong to somebody else (a heap, a thread's
// stack).
class UniqueMapping {
 public:
  UniqueMapping() = default;
  UniqueMapping(void* address, size_t length);
  UniqueMapping(UniqueMapping&& other) noexcept;
  UniqueMapping& operator=(UniqueMapping&& other) noexcept;
  UniqueMapping(const UniqueMapping&) = delete;
  UniqueMapping& operator=(const UniqueMapping&) = delete;
  ~UniqueMapping() { Reset(); }

  uint8_t* address() const { return address_; }
  size_t length() const { return length_; }
  explicit operator bool() const { return address_ != nullptr; }

  // munmap(2) of a part: 0, or -1 with errno.
  int Unmap(size_t offset, size_t length);
  // False where a part of the range was unmapped and something else is mapped there now.
  bool IsOursOrEmpty(size_t offset, size_t length) const;
  // Gives up a part without unmapping it.
  void Disown(size_t offset, size_t length);
  void Reset();

 private:
  struct Range {
    uintptr_t begin;
    uintptr_t end;
  };

  uint8_t* address_ = nullptr;
  size_t length_ = 0;
  std::vector<Range> owned_;
};

size_t PageSize();
size_t RoundUpToPage(size_t length);

}  // namespace gmem

#endif  // GMEM_UNIQUE_MAPPING_H_
