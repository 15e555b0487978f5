// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_ERRNO_NAME_H_
#define GMEM_ERRNO_NAME_H_

#include <string>

namespace gmem {

// `EHWPOISON`, `EOPNOTSUPP`: the kernel's names, which Node's own table lacks or changes.
// `ERRNO_<n>` where unknown.
std::string ErrnoName(int error);
// `Invalid argument`.
std::string ErrnoDescription(int error);

}  // namespace gmem

#endif  // GMEM_ERRNO_NAME_H_
