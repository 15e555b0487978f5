// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_MAPPING_H_
#define GMEM_MAPPING_H_

#include <napi.h>

#include "arguments.h"
#include "guarded_access.h"
#include "unique_mapping.h"

namespace gmem {

struct MmapRequest {
  uint64_t length;
  int32_t prot;
  int32_t flags;
  int32_t fd;
  int64_t offset;
  // A power of two above the page size for an address aligned so; 0 for any.
  uint64_t align;
};

// mmap(2). KernelError where refused, TypeError with MAP_FIXED, because there is no address to fix.
UniqueMapping Map(const Arguments& arguments, const MmapRequest& request);

// A mapping: NativeMapping of src/binding/addon.ts. Its memory is never shown to JavaScript, only
// copied, and every access is guarded: memory of a guest_memfd may answer with SIGBUS at any time.
class Mapping : public Napi::ObjectWrap<Mapping> {
 public:
  struct Parameters {
    Napi::Value parent;
    UniqueMapping mapping;
  };

  static Napi::Function Define(Napi::Env env);
  // `parent` is what must not be collected before, or null.
  static Napi::Object Create(Napi::Env env, Napi::Value parent, UniqueMapping mapping);

  explicit Mapping(const Napi::CallbackInfo& info);

 private:
  Napi::Value GetAddress(const Napi::CallbackInfo& info);
  Napi::Value GetLength(const Napi::CallbackInfo& info);
  Napi::Value Read(const Napi::CallbackInfo& info);
  Napi::Value Write(const Napi::CallbackInfo& info);
  Napi::Value Fill(const Napi::CallbackInfo& info);
  Napi::Value FindMismatch(const Napi::CallbackInfo& info);
  Napi::Value ProbeRead(const Napi::CallbackInfo& info);
  Napi::Value ProbeWrite(const Napi::CallbackInfo& info);
  Napi::Value ForkProbe(const Napi::CallbackInfo& info);
  Napi::Value Mprotect(const Napi::CallbackInfo& info);
  Napi::Value Madvise(const Napi::CallbackInfo& info);
  Napi::Value Munmap(const Napi::CallbackInfo& info);
  Napi::Value Mlock(const Napi::CallbackInfo& info);
  Napi::Value Munlock(const Napi::CallbackInfo& info);
  Napi::Value Mincore(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);

  const UniqueMapping& Open(const Arguments& arguments) const;
  // The address of a range inside the mapping. RangeError outside; Error where the range was
  // unmapped and its addresses have a new owner.
  uint8_t* Locate(const Arguments& arguments, uint64_t offset, uint64_t length) const;
  Access ParseAccess(const Arguments& arguments, bool write) const;
  uint8_t Byte(const Arguments& arguments, size_t index) const;

  Napi::Reference<Napi::Value> parent_;
  UniqueMapping mapping_;
};

}  // namespace gmem

#endif  // GMEM_MAPPING_H_
