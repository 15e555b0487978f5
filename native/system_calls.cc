// SPDX-License-Identifier: Apache-2.0
#include "system_calls.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <vector>

#include "arguments.h"
#include "errno_name.h"
#include "forked.h"
#include "ioctl.h"
#include "kernel_error.h"
#include "kvm.h"
#include "mapping.h"
#include "memory_access_error.h"

namespace gmem {
namespace {

Napi::Value OpenKvm(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "openKvm");
  const std::string path = arguments.String(0, "path");
  UniqueFd fd(static_cast<int>(Checked(
      info.Env(), Issue([&] { return ::open(path.c_str(), O_RDWR | O_CLOEXEC); }), "open")));
  return Kvm::Create(info.Env(), std::move(fd));
}

Napi::Value Mmap(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "mmap");
  const MmapRequest request = {
      .length = arguments.Uint64(0, "length"),
      .prot = arguments.Int32(1, "prot"),
      .flags = arguments.Int32(2, "flags"),
      .fd = arguments.Int32(3, "fd"),
      .offset = AsSigned(arguments.Uint64(4, "offset")),
      .align = arguments.Uint64(5, "align"),
  };
  return Mapping::Create(info.Env(), info.Env().Null(), Map(arguments, request));
}

Napi::Value MemfdCreate(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "memfdCreate");
  const std::string name = arguments.String(0, "name");
  const uint32_t flags = arguments.Uint32(1, "flags");
  const long fd =
      Checked(info.Env(), Issue([&] { return ::memfd_create(name.c_str(), flags | MFD_CLOEXEC); }),
              "memfd_create");
  return Napi::Number::New(info.Env(), static_cast<double>(fd));
}

Napi::Value IoctlFunction(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "ioctl");
  const int32_t fd = arguments.Int32(0, "fd");
  return IoctlMethod(arguments, fd, 1);
}

// One argument of syscall(2): an integer by value, bytes by the address of a guarded copy.
long SyscallArgument(const Arguments& arguments, Napi::Value value,
                     std::vector<GuardedBuffer>* buffers) {
  constexpr const char* kExpected =
      "args must be bigints of 64 bits, safe integers, Uint8Arrays or null";
  if (value.IsNull()) return 0;
  if (value.IsNumber()) {
    const double number = value.As<Napi::Number>().DoubleValue();
    if (std::trunc(number) != number || std::abs(number) > 9007199254740991.0)
      arguments.ThrowTypeError(kExpected);
    return static_cast<long>(number);
  }
  if (value.IsBigInt()) {
    const auto bigint = value.As<Napi::BigInt>();
    bool lossless = false;
    const uint64_t bits = bigint.Uint64Value(&lossless);
    if (lossless) return static_cast<long>(bits);
    const int64_t number = bigint.Int64Value(&lossless);
    if (lossless) return number;
    arguments.ThrowTypeError(kExpected);
  }
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    arguments.ThrowTypeError(kExpected);
  }
  auto array = value.As<Napi::Uint8Array>();
  buffers->emplace_back(std::span<const uint8_t>(array.Data(), array.ByteLength()));
  return reinterpret_cast<long>(buffers->back().data());
}

Napi::Value Syscall(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "syscall");
  const uint32_t number = arguments.Uint32(0, "number");
  if (!arguments[1].IsArray()) arguments.ThrowTypeError("args must be an array");
  const auto array = arguments[1].As<Napi::Array>();
  constexpr uint32_t kArgumentsMax = 6;
  if (array.Length() > kArgumentsMax)
    arguments.ThrowTypeError("args must have at most six elements");

  std::array<long, kArgumentsMax> args{};
  std::vector<GuardedBuffer> buffers;
  for (uint32_t i = 0; i < array.Length(); i++) {
    args[i] = SyscallArgument(arguments, array.Get(i), &buffers);
  }
  const SigbusCatcher catcher;
  const SyscallResult result = Issue(
      [&] { return ::syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]); });
  size_t next = 0;
  for (uint32_t i = 0; i < array.Length(); i++) {
    const Napi::Value value = array.Get(i);
    if (!value.IsTypedArray()) continue;
    auto bytes = value.As<Napi::Uint8Array>();
    buffers[next++].CopyTo({bytes.Data(), bytes.ByteLength()});
  }
  if (const auto fault = catcher.caught()) ThrowMemoryAccessError(arguments, *fault);
  const std::string name = "syscall(" + std::to_string(number) + ")";
  return Napi::BigInt::New(info.Env(), int64_t{Checked(info.Env(), result, name.c_str())});
}

Napi::Value Open(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "open");
  const std::string path = arguments.String(0, "path");
  const int32_t flags = arguments.Int32(1, "flags");
  const uint32_t mode = arguments.Uint32(2, "mode");
  const long fd = Checked(
      info.Env(), Issue([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); }), "open");
  return Napi::Number::New(info.Env(), static_cast<double>(fd));
}

Napi::Value CloseFd(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "close");
  const int32_t fd = arguments.Int32(0, "fd");
  Checked(info.Env(), Issue([&] { return ::close(fd); }), "close");
  return info.Env().Undefined();
}

Napi::Value Ftruncate(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "ftruncate");
  const int32_t fd = arguments.Int32(0, "fd");
  const int64_t length = AsSigned(arguments.Uint64(1, "length"));
  Checked(info.Env(), Issue([&] { return ::ftruncate(fd, length); }), "ftruncate");
  return info.Env().Undefined();
}

struct ForkedIoctl {
  int fd;
  unsigned long request;
  unsigned long argument;
  int error;
};

void IoctlInChild(void* context) {
  auto* call = static_cast<ForkedIoctl*>(context);
  const int result = ioctl(call->fd, call->request, call->argument);
  call->error = result < 0 ? errno : 0;
}

Napi::Value ForkIoctl(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "forkIoctl");
  ForkedIoctl call = {};
  call.fd = arguments.Int32(0, "fd");
  call.request = arguments.Uint32(1, "request");
  const IoctlArgument argument(arguments, 2, "argument");
  call.argument = argument.value();
  const ForkedOutcome outcome = RunForked(IoctlInChild, &call, sizeof(call));
  if (!outcome.failed_syscall.empty())
    ThrowKernelError(info.Env(), outcome.error, outcome.failed_syscall);
  if (!outcome.reported) throw Napi::Error::New(info.Env(), "forkIoctl: " + outcome.problem);
  return Napi::String::New(info.Env(), call.error == 0 ? "" : ErrnoName(call.error));
}

Napi::Value ErrnoNameFunction(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "errnoName");
  return Napi::String::New(info.Env(), ErrnoName(std::abs(arguments.Int32(0, "errno"))));
}

}  // namespace

void DefineSystemCalls(Napi::Env env, Napi::Object exports) {
  exports["openKvm"] = Napi::Function::New<OpenKvm>(env, "openKvm");
  exports["mmap"] = Napi::Function::New<Mmap>(env, "mmap");
  exports["memfdCreate"] = Napi::Function::New<MemfdCreate>(env, "memfdCreate");
  exports["ioctl"] = Napi::Function::New<IoctlFunction>(env, "ioctl");
  exports["syscall"] = Napi::Function::New<Syscall>(env, "syscall");
  exports["open"] = Napi::Function::New<Open>(env, "open");
  exports["close"] = Napi::Function::New<CloseFd>(env, "close");
  exports["ftruncate"] = Napi::Function::New<Ftruncate>(env, "ftruncate");
  exports["forkIoctl"] = Napi::Function::New<ForkIoctl>(env, "forkIoctl");
  exports["errnoName"] = Napi::Function::New<ErrnoNameFunction>(env, "errnoName");
}

}  // namespace gmem
