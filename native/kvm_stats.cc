// SPDX-License-Identifier: Apache-2.0
#include "kvm_stats.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "kernel_error.h"
#include "kvm_abi.h"

namespace gmem {
namespace {

// Bounds for numbers that come from a kernel under test: more than this is a broken header, not
// statistics.
constexpr uint32_t kNameSizeMax = 4096;
constexpr uint32_t kDescriptorsMax = 65536;
constexpr uint32_t kValuesMax = 65536;

void ReadAt(Napi::Env env, int fd, void* destination, size_t size, uint64_t offset) {
  const long count = Checked(
      env, Issue([&] { return ::pread(fd, destination, size, static_cast<off_t>(offset)); }),
      "pread");
  if (static_cast<size_t>(count) != size) {
    throw Napi::Error::New(env, "the KVM statistics end in the middle of a structure");
  }
}

}  // namespace

Napi::Object ReadKvmStats(Napi::Env env, UniqueFd fd) {
  fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
  abi::StatsHeader header;
  ReadAt(env, fd.get(), &header, sizeof(header), 0);
  if (header.name_size == 0 || header.name_size > kNameSizeMax ||
      header.num_desc > kDescriptorsMax) {
    throw Napi::Error::New(env, "the header of the KVM statistics makes no sense");
  }

  const size_t stride = sizeof(abi::StatsDescriptor) + header.name_size;
  std::vector<uint8_t> descriptors(stride * header.num_desc);
  if (!descriptors.empty()) {
    ReadAt(env, fd.get(), descriptors.data(), descriptors.size(), header.desc_offset);
  }
  Napi::Object stats = Napi::Object::New(env);
  for (size_t index = 0; index < header.num_desc; index++) {
    const Napi::HandleScope scope(env);
    const uint8_t* bytes = descriptors.data() + index * stride;
    abi::StatsDescriptor descriptor;
    // SAFETY: `descriptors` holds num_desc strides, each a descriptor and its name.
    std::memcpy(&descriptor, bytes, sizeof(descriptor));
    const char* name = reinterpret_cast<const char*>(bytes + sizeof(descriptor));
    if (descriptor.size == 0 || descriptor.size > kValuesMax) {
      throw Napi::Error::New(env, "a descriptor of the KVM statistics makes no sense");
    }
    std::vector<uint64_t> values(descriptor.size);
    ReadAt(env, fd.get(), values.data(), values.size() * sizeof(uint64_t),
           uint64_t{header.data_offset} + descriptor.offset);
    Napi::Array array = Napi::Array::New(env, values.size());
    for (uint32_t i = 0; i < values.size(); i++) array[i] = Napi::BigInt::New(env, values[i]);
    stats.Set(std::string(name, strnlen(name, header.name_size)), array);
  }
  return stats;
}

}  // namespace gmem
