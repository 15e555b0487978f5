// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_KVM_STATS_H_
#define GMEM_KVM_STATS_H_

#include <napi.h>

#include "unique_fd.h"

namespace gmem {

// All of a KVM_GET_STATS_FD file as { name: [values] }. KernelError where it cannot be read, Error
// where its layout contradicts itself. Layout: Documentation/virt/kvm/api.rst, 4.133.
Napi::Object ReadKvmStats(Napi::Env env, UniqueFd fd);

}  // namespace gmem

#endif  // GMEM_KVM_STATS_H_
