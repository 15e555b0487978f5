// SPDX-License-Identifier: Apache-2.0
#include "errno_name.h"

#include <cstring>

namespace gmem {
namespace {

// Errnos that userspace should never see, but that buggy kernels leak: include/linux/errno.h.
const char* KernelInternalName(int error) {
  switch (error) {
    case 512:
      return "ERESTARTSYS";
    case 513:
      return "ERESTARTNOINTR";
    case 514:
      return "ERESTARTNOHAND";
    case 515:
      return "ENOIOCTLCMD";
    case 516:
      return "ERESTART_RESTARTBLOCK";
    case 517:
      return "EPROBE_DEFER";
    case 524:
      return "ENOTSUPP";
    default:
      return nullptr;
  }
}

}  // namespace

std::string ErrnoName(int error) {
  if (const char* name = strerrorname_np(error)) return error == 0 ? "" : name;
  if (const char* name = KernelInternalName(error)) return name;
  return "ERRNO_" + std::to_string(error);
}

std::string ErrnoDescription(int error) {
  if (const char* description = strerrordesc_np(error)) return description;
  if (KernelInternalName(error) != nullptr) return "Kernel-internal error leaked to userspace";
  return "Unknown error " + std::to_string(error);
}

}  // namespace gmem
