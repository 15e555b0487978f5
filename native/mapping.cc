// SPDX-License-Identifier: Apache-2.0
#include "mapping.h"

#include <sys/mman.h>

#include <vector>

#include "addon_data.h"
#include "forked.h"
#include "kernel_error.h"
#include "memory_access_error.h"

namespace gmem {
namespace {

Napi::Object ToProbe(Napi::Env env, bool ok, uint64_t value, const Fault& fault) {
  Napi::Object probe = Napi::Object::New(env);
  probe["ok"] = Napi::Boolean::New(env, ok);
  if (ok) {
    probe["value"] = Napi::BigInt::New(env, value);
    return probe;
  }
  probe["signal"] = Napi::String::New(env, SignalName(fault.signal));
  probe["code"] = Napi::Number::New(env, fault.code);
  probe["address"] = Napi::BigInt::New(env, fault.address);
  return probe;
}

// What the forked child of a probe gets and gives back.
struct ForkedProbe {
  Access access;
  Fault fault;
  bool ok;
};

void ProbeInChild(void* context) {
  auto* probe = static_cast<ForkedProbe*>(context);
  probe->ok = GuardedAccess(&probe->access, &probe->fault);
}

}  // namespace

UniqueMapping Map(const Arguments& arguments, const MmapRequest& request) {
  if ((request.flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0) {
    arguments.ThrowTypeError("flags must not have MAP_FIXED: there is no address to map at");
  }
  const bool aligned = request.align > PageSize();
  if ((request.align & (request.align - 1)) != 0) {
    arguments.ThrowTypeError("align must be a power of two");
  }
  UniqueMapping reserved;
  void* wanted = nullptr;
  const uint64_t usable = RoundUpToPage(request.length);
  if (aligned && usable >= request.length && usable + request.align > usable) {
    // More than needed, so that an aligned address is in it.
    const uint64_t length = usable + request.align;
    void* address =
        mmap(nullptr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    const int error = errno;
    if (address == MAP_FAILED) ThrowKernelError(arguments.env(), error, "mmap");
    reserved = UniqueMapping(address, length);
    const auto start = reinterpret_cast<uintptr_t>(address);
    wanted = reinterpret_cast<void*>((start + request.align - 1) & ~(request.align - 1));
  }
  const int fixed = wanted == nullptr ? 0 : MAP_FIXED;
  void* address =
      mmap(wanted, request.length, request.prot, request.flags | fixed, request.fd, request.offset);
  const int error = errno;
  if (address == MAP_FAILED) ThrowKernelError(arguments.env(), error, "mmap");
  // What is left of the reservation goes away with it.
  if (reserved)
    reserved.Disown(static_cast<uint8_t*>(address) - reserved.address(), request.length);
  return UniqueMapping(address, request.length);
}

Napi::Function Mapping::Define(Napi::Env env) {
  return DefineClass(
      env, "Mapping",
      {
          InstanceAccessor<&Mapping::GetAddress>("address"),
          InstanceAccessor<&Mapping::GetLength>("length"),
          InstanceMethod<&Mapping::Read>("read", kMethod),
          InstanceMethod<&Mapping::Write>("write", kMethod),
          InstanceMethod<&Mapping::Fill>("fill", kMethod),
          InstanceMethod<&Mapping::FindMismatch>("findMismatch", kMethod),
          InstanceMethod<&Mapping::ProbeRead>("probeRead", kMethod),
          InstanceMethod<&Mapping::ProbeWrite>("probeWrite", kMethod),
          InstanceMethod<&Mapping::ForkProbe>("forkProbe", kMethod),
          InstanceMethod<&Mapping::Mprotect>("mprotect", kMethod),
          InstanceMethod<&Mapping::Madvise>("madvise", kMethod),
          InstanceMethod<&Mapping::Munmap>("munmap", kMethod),
          InstanceMethod<&Mapping::Mlock>("mlock", kMethod),
          InstanceMethod<&Mapping::Munlock>("munlock", kMethod),
          InstanceMethod<&Mapping::Mincore>("mincore", kMethod),
          InstanceMethod<&Mapping::Close>("close", kMethod),
          InstanceMethod<&Mapping::Close>(Napi::Symbol::WellKnown(env, "dispose"), kMethod),
      });
}

Napi::Object Mapping::Create(Napi::Env env, Napi::Value parent, UniqueMapping mapping) {
  Parameters parameters{parent, std::move(mapping)};
  return Construct(AddonData::Of(env).mapping, env, parameters);
}

Mapping::Mapping(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  InstallSignalHandlers();
  Parameters& parameters = ConstructionParameters<Parameters>(info);
  if (parameters.parent.IsObject())
    parent_ = Napi::Reference<Napi::Value>::New(parameters.parent, 1);
  mapping_ = std::move(parameters.mapping);
}

const UniqueMapping& Mapping::Open(const Arguments& arguments) const {
  if (!mapping_) arguments.ThrowClosed();
  return mapping_;
}

uint8_t* Mapping::Locate(const Arguments& arguments, uint64_t offset, uint64_t length) const {
  const UniqueMapping& mapping = Open(arguments);
  if (offset > mapping.length() || length > mapping.length() - offset) {
    arguments.ThrowRangeError("offset " + std::to_string(offset) + " and length " +
                              std::to_string(length) + " are outside the mapping of " +
                              std::to_string(mapping.length()) + " bytes");
  }
  if (!mapping.IsOursOrEmpty(offset, length)) {
    throw Napi::Error::New(
        arguments.env(),
        std::string(arguments.method()) +
            ": this part was unmapped, and the process has mapped something else there");
  }
  return mapping.address() + offset;
}

Napi::Value Mapping::GetAddress(const Napi::CallbackInfo& info) {
  const auto address = reinterpret_cast<uint64_t>(Open({info, "Mapping.address"}).address());
  return Napi::BigInt::New(info.Env(), address);
}

Napi::Value Mapping::GetLength(const Napi::CallbackInfo& info) {
  return Napi::BigInt::New(info.Env(), uint64_t{Open({info, "Mapping.length"}).length()});
}

Napi::Value Mapping::Read(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Mapping.read");
  Open(arguments);
  const uint64_t offset = arguments.Uint64(0, "offset");
  const size_t length = arguments.Size(1, "length");
  const uint8_t* source = Locate(arguments, offset, length);
  Napi::Uint8Array bytes = Napi::Uint8Array::New(info.Env(), length);
  Fault fault;
  if (!GuardedCopy(bytes.Data(), source, length, &fault)) ThrowMemoryAccessError(arguments, fault);
  return bytes;
}

Napi::Value Mapping::Write(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Mapping.write");
  Open(arguments);
  const uint64_t offset = arguments.Uint64(0, "offset");
  const std::span<uint8_t> data = arguments.Bytes(1, "data");
  uint8_t* destination = Locate(arguments, offset, data.size());
  Fault fault;
  if (!GuardedCopy(destination, data.data(), data.size(), &fault))
    ThrowMemoryAccessError(arguments, fault);
  return info.Env().Undefined();
}

uint8_t Mapping::Byte(const Arguments& arguments, size_t index) const {
  const uint32_t byte = arguments.Uint32(index, "byte");
  if (byte > 0xff) arguments.ThrowTypeError("byte must be from 0 to 255");
  return static_cast<uint8_t>(byte);
}

Napi::Value Mapping::Fill(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Mapping.fill");
  Open(arguments);
  const uint64_t offset = arguments.Uint64(0, "offset");
  const uint64_t length = arguments.Uint64(1, "length");
  const uint8_t byte = Byte(arguments, 2);
  uint8_t* destination = Locate(arguments, offset, length);
  Fault fault;
  if (!GuardedFill(destination, length, byte, &fault)) ThrowMemoryAccessError(arguments, fault);
  return info.Env().Undefined();
}

Napi::Value Mapping::FindMismatch(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Mapping.findMismatch");
  Open(arguments);
  const uint64_t offset = arguments.Uint64(0, "offset");
  const uint64_t length = arguments.Uint64(1, "length");
  const uint8_t byte = Byte(arguments, 2);
  const uint8_t* source = Locate(arguments, offset, length);
  Mismatch mismatch;
  Fault fault;
  if (!GuardedFindMismatch(source, length, byte, &mismatch, &fault))
    ThrowMemoryAccessError(arguments, fault);
  if (!mismatch.found) return info.Env().Null();
  Napi::Object result = Napi::Object::New(info.Env());
  result["offset"] = Napi::BigInt::New(info.Env(), offset + mismatch.offset);
  result["actual"] = Napi::Number::New(info.Env(), mismatch.actual);
  return result;
}

Access Mapping::ParseAccess(const Arguments& arguments, bool write) const {
  Open(arguments);
  const uint64_t offset = arguments.Uint64(0, "offset");
  const uint32_t width = arguments.Uint32(1, "width");
  if (width != 1 && width != 2 && width != 4 && width != 8)
    arguments.ThrowTypeError("width must be 1, 2, 4 or 8");
  const uint64_t value = write ? arguments.Uint64(2, "value") : 0;
  if (width < 8 && (value >> (8 * width)) != 0)
    arguments.ThrowTypeError("value does not fit the width");
  return {Locate(arguments, offset, width), width, write, value};
}

Napi::Value Mapping::ProbeRead(const Napi::CallbackInfo& info) {
  Access access = ParseAccess({info, "Mapping.probeRead"}, false);
  Fault fault;
  const bool ok = GuardedAccess(&access, &fault);
  return ToProbe(info.Env(), ok, access.value, fault);
}

Napi::Value Mapping::ProbeWrite(const Napi::CallbackInfo& info) {
  Access access = ParseAccess({info, "Mapping.probeWrite"}, true);
  Fault fault;
  const bool ok = GuardedAccess(&access, &fault);
  return ToProbe(info.Env(), ok, access.value, fault);
}

Napi::Value Mapping::ForkProbe(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Mapping.forkProbe");
  ForkedProbe probe = {};
  probe.access = ParseAccess(arguments, !arguments.IsNull(2));
  const ForkedOutcome outcome = RunForked(ProbeInChild, &probe, sizeof(probe));
  if (!outcome.failed_syscall.empty())
    ThrowKernelError(info.Env(), outcome.error, outcome.failed_syscall);
  if (!outcome.reported) {
    throw Napi::Error::New(info.Env(), std::string(arguments.method()) + ": " + outcome.problem);
  }
  return ToProbe(info.Env(), probe.ok, probe.access.value, probe.fault);
}

Napi::Value Mapping::Mprotect(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Mapping.mprotect");
  Open(arguments);
  const uint64_t offset = arguments.Uint64(0, "offset");
  const uint64_t length = arguments.Uint64(1, "length");
  const int32_t prot = arguments.Int32(2, "prot");
  uint8_t* address = Locate(arguments, offset, length);
  Checked(info.Env(), Issue([&] { return ::mprotect(address, length, prot); }), "mprotect");
  return info.Env().Undefined();
}

Napi::Value Mapping::Madvise(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Mapping.madvise");
  Open(arguments);
  const uint64_t offset = arguments.Uint64(0, "offset");
  const uint64_t length = arguments.Uint64(1, "length");
  const int32_t advice = arguments.Int32(2, "advice");
  uint8_t* address = Locate(arguments, offset, length);
  const SigbusCatcher catcher;
  const SyscallResult result = Issue([&] { return ::madvise(address, length, advice); });
  const Napi::Value sigbus = ToSignal(info.Env(), catcher.caught());
  try {
    Checked(info.Env(), result, "madvise");
  } catch (const Napi::Error& error) {
    error.Set("sigbus", sigbus);
    throw;
  }
  return sigbus;
}

Napi::Value Mapping::Munmap(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Mapping.munmap");
  Open(arguments);
  const uint64_t offset = arguments.Uint64(0, "offset");
  const uint64_t length = arguments.Uint64(1, "length");
  Locate(arguments, offset, length);
  Checked(info.Env(), Issue([&] { return mapping_.Unmap(offset, length); }), "munmap");
  return info.Env().Undefined();
}

Napi::Value Mapping::Mlock(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Mapping.mlock");
  Open(arguments);
  const uint64_t offset = arguments.Uint64(0, "offset");
  const uint64_t length = arguments.Uint64(1, "length");
  const uint8_t* address = Locate(arguments, offset, length);
  Checked(info.Env(), Issue([&] { return ::mlock(address, length); }), "mlock");
  return info.Env().Undefined();
}

Napi::Value Mapping::Munlock(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Mapping.munlock");
  Open(arguments);
  const uint64_t offset = arguments.Uint64(0, "offset");
  const uint64_t length = arguments.Uint64(1, "length");
  const uint8_t* address = Locate(arguments, offset, length);
  Checked(info.Env(), Issue([&] { return ::munlock(address, length); }), "munlock");
  return info.Env().Undefined();
}

Napi::Value Mapping::Mincore(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "Mapping.mincore");
  Open(arguments);
  const uint64_t offset = arguments.Uint64(0, "offset");
  const uint64_t length = arguments.Uint64(1, "length");
  uint8_t* address = Locate(arguments, offset, length);
  std::vector<uint8_t> pages(RoundUpToPage(length) / PageSize());
  Checked(info.Env(), Issue([&] { return ::mincore(address, length, pages.data()); }), "mincore");
  return CopyToUint8Array(info.Env(), pages);
}

Napi::Value Mapping::Close(const Napi::CallbackInfo& info) {
  mapping_.Reset();
  return info.Env().Undefined();
}

}  // namespace gmem
