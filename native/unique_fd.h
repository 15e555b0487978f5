// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_UNIQUE_FD_H_
#define GMEM_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace gmem {

// The only holder of a raw file descriptor. Closes it once.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

  // close(2) reports nothing useful for the files held here; after EINTR the descriptor is gone on
  // Linux.
  void Reset() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

}  // namespace gmem

#endif  // GMEM_UNIQUE_FD_H_
