// SPDX-License-Identifier: Apache-2.0
#include "system_calls.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "arguments.h"
#include "errno_name.h"
#include "forked.h"
#include "ioctl.h"
#include "kernel_error.h"
#include "kvm.h"
#include "mapping.h"
#include "memory_access_error.h"
#include "raw_syscall.h"
#include "read_files.h"
#include "syscall_thread.h"

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

Napi::Value Syscall(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "syscall");
  const uint32_t number = arguments.Uint32(0, "number");
  const RawSyscall call(arguments, number, arguments[1]);
  const SigbusCatcher catcher;
  const SyscallResult result = call.Issue();
  call.WriteBack(arguments[1].As<Napi::Array>());
  if (const auto fault = catcher.caught()) ThrowMemoryAccessError(arguments, *fault);
  const std::string name = "syscall(" + std::to_string(number) + ")";
  return Napi::BigInt::New(info.Env(), int64_t{Checked(info.Env(), result, name.c_str())});
}

Napi::Value SyscallsOnThreadFunction(const Napi::CallbackInfo& info) {
  return SyscallsOnThread(Arguments(info, "syscallsOnThread"));
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

Napi::Value ReadFilesFunction(const Napi::CallbackInfo& info) {
  return ReadFiles(Arguments(info, "readFiles"));
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
  exports["syscallsOnThread"] =
      Napi::Function::New<SyscallsOnThreadFunction>(env, "syscallsOnThread");
  exports["open"] = Napi::Function::New<Open>(env, "open");
  exports["close"] = Napi::Function::New<CloseFd>(env, "close");
  exports["ftruncate"] = Napi::Function::New<Ftruncate>(env, "ftruncate");
  exports["readFiles"] = Napi::Function::New<ReadFilesFunction>(env, "readFiles");
  exports["forkIoctl"] = Napi::Function::New<ForkIoctl>(env, "forkIoctl");
  exports["errnoName"] = Napi::Function::New<ErrnoNameFunction>(env, "errnoName");
}

}  // namespace gmem
