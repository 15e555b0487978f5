// SPDX-License-Identifier: Apache-2.0
#include "read_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "unique_fd.h"

namespace gmem {
namespace {

constexpr size_t kChunkSize = 4096;

// Nothing where the file is not there, or not for reading.
void AppendContent(const std::string& path, std::vector<uint8_t>& to) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return;
  std::array<uint8_t, kChunkSize> chunk;
  for (;;) {
    const ssize_t length = ::read(fd.get(), chunk.data(), chunk.size());
    if (length <= 0) return;
    to.insert(to.end(), chunk.begin(), chunk.begin() + length);
  }
}

}  // namespace

Napi::Value ReadFiles(const Arguments& arguments) {
  const std::string paths = arguments.String(0, "paths");
  std::vector<uint8_t> contents;
  for (std::string_view rest = paths; !rest.empty();) {
    const std::string_view path = rest.substr(0, rest.find('\n'));
    AppendContent(std::string(path), contents);
    contents.push_back(0);
    rest.remove_prefix(std::min(path.size() + 1, rest.size()));
  }
  return CopyToUint8Array(arguments.env(), contents);
}

}  // namespace gmem
