// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_GUEST_MEMFD_H_
#define GMEM_GUEST_MEMFD_H_

#include <napi.h>

#include "arguments.h"
#include "unique_fd.h"

namespace gmem {

// A guest_memfd: NativeGuestMemfd of src/binding/addon.ts.
class GuestMemfd : public Napi::ObjectWrap<GuestMemfd> {
 public:
  struct Parameters {
    Napi::Object vm;
    UniqueFd fd;
  };

  static Napi::Function Define(Napi::Env env);
  static Napi::Object Create(Napi::Env env, Napi::Object vm, UniqueFd fd);

  explicit GuestMemfd(const Napi::CallbackInfo& info);

 private:
  Napi::Value GetFd(const Napi::CallbackInfo& info);
  Napi::Value Fallocate(const Napi::CallbackInfo& info);
  Napi::Value Ftruncate(const Napi::CallbackInfo& info);
  Napi::Value Fstat(const Napi::CallbackInfo& info);
  Napi::Value Read(const Napi::CallbackInfo& info);
  Napi::Value Write(const Napi::CallbackInfo& info);
  Napi::Value Pread(const Napi::CallbackInfo& info);
  Napi::Value Pwrite(const Napi::CallbackInfo& info);
  Napi::Value Lseek(const Napi::CallbackInfo& info);
  Napi::Value Ioctl(const Napi::CallbackInfo& info);
  Napi::Value Mmap(const Napi::CallbackInfo& info);
  Napi::Value Dup(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);

  int OpenFd(const Arguments& arguments) const;

  // Keeps the parent from being collected, and closed, before us.
  Napi::ObjectReference vm_;
  UniqueFd fd_;
};

}  // namespace gmem

#endif  // GMEM_GUEST_MEMFD_H_
