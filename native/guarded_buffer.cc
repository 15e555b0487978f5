// SPDX-License-Identifier: Apache-2.0
#include "guarded_buffer.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

namespace gmem {

GuardedBuffer::GuardedBuffer(std::span<const uint8_t> bytes) : size_(bytes.size()) {
  const size_t usable = RoundUpToPage(size_);
  const size_t length = usable + PageSize();
  void* address = mmap(nullptr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) throw std::bad_alloc();
  mapping_ = UniqueMapping(address, length);
  if (usable > 0 && mprotect(address, usable, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
  data_ = mapping_.address() + usable - size_;
  // SAFETY: size_ bytes fit between data_ and the inaccessible page.
  if (size_ > 0) std::memcpy(data_, bytes.data(), size_);
}

void GuardedBuffer::CopyTo(std::span<uint8_t> bytes) const {
  // SAFETY: the destination is the span that the buffer was made of.
  if (!bytes.empty()) std::memcpy(bytes.data(), data_, bytes.size() < size_ ? bytes.size() : size_);
}

}  // namespace gmem
