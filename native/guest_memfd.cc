// SPDX-License-Identifier: Apache-2.0
#include "guest_memfd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "addon_data.h"
#include "ioctl.h"
#include "kernel_error.h"
#include "mapping.h"

namespace gmem {
namespace {

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

Napi::Function GuestMemfd::Define(Napi::Env env) {
  using Self = GuestMemfd;
  return DefineClass(
      env, "GuestMemfd",
      {
          InstanceAccessor<&Self::GetFd>("fd"),
          InstanceMethod<&Self::Fallocate>("fallocate", kMethod),
          InstanceMethod<&Self::Ftruncate>("ftruncate", kMethod),
          InstanceMethod<&Self::Fstat>("fstat", kMethod),
          InstanceMethod<&Self::Read>("read", kMethod),
          InstanceMethod<&Self::Write>("write", kMethod),
          InstanceMethod<&Self::Pread>("pread", kMethod),
          InstanceMethod<&Self::Pwrite>("pwrite", kMethod),
          InstanceMethod<&Self::Lseek>("lseek", kMethod),
          InstanceMethod<&Self::Ioctl>("ioctl", kMethod),
          InstanceMethod<&Self::Mmap>("mmap", kMethod),
          InstanceMethod<&Self::Dup>("dup", kMethod),
          InstanceMethod<&Self::Close>("close", kMethod),
          InstanceMethod<&Self::Close>(Napi::Symbol::WellKnown(env, "dispose"), kMethod),
      });
}

Napi::Object GuestMemfd::Create(Napi::Env env, Napi::Object vm, UniqueFd fd) {
  Parameters parameters{vm, std::move(fd)};
  return Construct(AddonData::Of(env).guest_memfd, env, parameters);
}

GuestMemfd::GuestMemfd(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  Parameters& parameters = ConstructionParameters<Parameters>(info);
  vm_ = Napi::Persistent(parameters.vm);
  fd_ = std::move(parameters.fd);
}

int GuestMemfd::OpenFd(const Arguments& arguments) const {
  if (!fd_) arguments.ThrowClosed();
  return fd_.get();
}

Napi::Value GuestMemfd::GetFd(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), OpenFd({info, "GuestMemfd.fd"}));
}

Napi::Value GuestMemfd::Fallocate(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "GuestMemfd.fallocate");
  const int fd = OpenFd(arguments);
  const int32_t mode = arguments.Int32(0, "mode");
  const int64_t offset = AsSigned(arguments.Uint64(1, "offset"));
  const int64_t length = AsSigned(arguments.Uint64(2, "length"));
  Checked(info.Env(), Issue([&] { return ::fallocate(fd, mode, offset, length); }), "fallocate");
  return info.Env().Undefined();
}

Napi::Value GuestMemfd::Ftruncate(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "GuestMemfd.ftruncate");
  const int fd = OpenFd(arguments);
  const int64_t length = AsSigned(arguments.Uint64(0, "length"));
  Checked(info.Env(), Issue([&] { return ::ftruncate(fd, length); }), "ftruncate");
  return info.Env().Undefined();
}

Napi::Value GuestMemfd::Fstat(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "GuestMemfd.fstat");
  const int fd = OpenFd(arguments);
  struct stat status;
  Checked(info.Env(), Issue([&] { return ::fstat(fd, &status); }), "fstat");
  const Napi::Env env = info.Env();
  Napi::Object result = Napi::Object::New(env);
  result["size"] = Napi::BigInt::New(env, int64_t{status.st_size});
  result["blocks"] = Napi::BigInt::New(env, int64_t{status.st_blocks});
  result["blksize"] = Napi::BigInt::New(env, int64_t{status.st_blksize});
  result["ino"] = Napi::BigInt::New(env, uint64_t{status.st_ino});
  result["dev"] = Napi::BigInt::New(env, uint64_t{status.st_dev});
  result["mode"] = Napi::Number::New(env, status.st_mode);
  result["nlink"] = Napi::BigInt::New(env, uint64_t{status.st_nlink});
  result["mtimeNs"] = Napi::BigInt::New(env, Nanoseconds(status.st_mtim));
  result["ctimeNs"] = Napi::BigInt::New(env, Nanoseconds(status.st_ctim));
  return result;
}

Napi::Value GuestMemfd::Read(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "GuestMemfd.read");
  const int fd = OpenFd(arguments);
  std::vector<uint8_t> buffer(arguments.Size(0, "length"));
  const long count =
      Checked(info.Env(), Issue([&] { return ::read(fd, buffer.data(), buffer.size()); }), "read");
  return CopyToUint8Array(info.Env(), std::span(buffer).first(static_cast<size_t>(count)));
}

Napi::Value GuestMemfd::Write(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "GuestMemfd.write");
  const int fd = OpenFd(arguments);
  const std::span<uint8_t> data = arguments.Bytes(0, "data");
  const long count =
      Checked(info.Env(), Issue([&] { return ::write(fd, data.data(), data.size()); }), "write");
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

Napi::Value GuestMemfd::Pread(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "GuestMemfd.pread");
  const int fd = OpenFd(arguments);
  std::vector<uint8_t> buffer(arguments.Size(0, "length"));
  const int64_t offset = AsSigned(arguments.Uint64(1, "offset"));
  const long count =
      Checked(info.Env(), Issue([&] { return ::pread(fd, buffer.data(), buffer.size(), offset); }),
              "pread64");
  return CopyToUint8Array(info.Env(), std::span(buffer).first(static_cast<size_t>(count)));
}

Napi::Value GuestMemfd::Pwrite(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "GuestMemfd.pwrite");
  const int fd = OpenFd(arguments);
  const std::span<uint8_t> data = arguments.Bytes(0, "data");
  const int64_t offset = AsSigned(arguments.Uint64(1, "offset"));
  const long count =
      Checked(info.Env(), Issue([&] { return ::pwrite(fd, data.data(), data.size(), offset); }),
              "pwrite64");
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

Napi::Value GuestMemfd::Lseek(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "GuestMemfd.lseek");
  const int fd = OpenFd(arguments);
  const int64_t offset = AsSigned(arguments.Uint64(0, "offset"));
  const int32_t whence = arguments.Int32(1, "whence");
  const long position =
      Checked(info.Env(), Issue([&] { return ::lseek(fd, offset, whence); }), "lseek");
  return Napi::BigInt::New(info.Env(), int64_t{position});
}

Napi::Value GuestMemfd::Ioctl(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "GuestMemfd.ioctl");
  return IoctlMethod(arguments, OpenFd(arguments), 0);
}

Napi::Value GuestMemfd::Mmap(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "GuestMemfd.mmap");
  const int fd = OpenFd(arguments);
  const MmapRequest request = {
      .length = arguments.Uint64(0, "length"),
      .prot = arguments.Int32(1, "prot"),
      .flags = arguments.Int32(2, "flags"),
      .fd = fd,
      .offset = AsSigned(arguments.Uint64(3, "offset")),
      .align = 0,
  };
  return Mapping::Create(info.Env(), Value(), Map(arguments, request));
}

Napi::Value GuestMemfd::Dup(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "GuestMemfd.dup");
  const int fd = OpenFd(arguments);
  UniqueFd copy(static_cast<int>(
      Checked(info.Env(), Issue([&] { return ::fcntl(fd, F_DUPFD_CLOEXEC, 0); }), "fcntl")));
  return Create(info.Env(), vm_.Value(), std::move(copy));
}

Napi::Value GuestMemfd::Close(const Napi::CallbackInfo& info) {
  fd_.Reset();
  return info.Env().Undefined();
}

}  // namespace gmem
