// SPDX-License-Identifier: Apache-2.0
#include "unique_mapping.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace gmem {

size_t PageSize() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

size_t RoundUpToPage(size_t length) { return (length + PageSize() - 1) & ~(PageSize() - 1); }

UniqueMapping::UniqueMapping(void* address, size_t length)
    : address_(static_cast<uint8_t*>(address)), length_(length) {
  const auto begin = reinterpret_cast<uintptr_t>(address);
  owned_.push_back({begin, begin + RoundUpToPage(length)});
}

UniqueMapping::UniqueMapping(UniqueMapping&& other) noexcept
    : address_(std::exchange(other.address_, nullptr)),
      length_(std::exchange(other.length_, 0)),
      owned_(std::exchange(other.owned_, {})) {}

UniqueMapping& UniqueMapping::operator=(UniqueMapping&& other) noexcept {
  if (this != &other) {
    Reset();
    address_ = std::exchange(other.address_, nullptr);
    length_ = std::exchange(other.length_, 0);
    owned_ = std::exchange(other.owned_, {});
  }
  return *this;
}

int UniqueMapping::Unmap(size_t offset, size_t length) {
  const int result = munmap(address_ + offset, length);
  if (result == 0) Disown(offset, length);
  return result;
}

void UniqueMapping::Disown(size_t offset, size_t length) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(address_) + offset;
  const uintptr_t end = begin + RoundUpToPage(length);
  std::vector<Range> rest;
  for (const Range& range : owned_) {
    const Range before{range.begin, std::min(range.end, begin)};
    const Range after{std::max(range.begin, end), range.end};
    if (before.begin < before.end) rest.push_back(before);
    if (after.begin < after.end) rest.push_back(after);
  }
  owned_ = std::move(rest);
}

bool UniqueMapping::IsOursOrEmpty(size_t offset, size_t length) const {
  uintptr_t next = (reinterpret_cast<uintptr_t>(address_) + offset) & ~(PageSize() - 1);
  const uintptr_t end = reinterpret_cast<uintptr_t>(address_) + offset + length;
  while (next < end) {
    const auto owner = std::find_if(owned_.begin(), owned_.end(), [next](const Range& range) {
      return range.begin <= next && next < range.end;
    });
    if (owner != owned_.end()) {
      next = owner->end;
      continue;
    }
    unsigned char resident = 0;
    const int result = mincore(reinterpret_cast<void*>(next), PageSize(), &resident);
    if (result == 0 || errno != ENOMEM) return false;
    next += PageSize();
  }
  return true;
}

void UniqueMapping::Reset() {
  for (const Range& range : owned_) {
    munmap(reinterpret_cast<void*>(range.begin), range.end - range.begin);
  }
  owned_.clear();
  address_ = nullptr;
  length_ = 0;
}

}  // namespace gmem
