// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_READ_FILES_H_
#define GMEM_READ_FILES_H_

#include <napi.h>

#include "arguments.h"

namespace gmem {

// What many small files hold, in one call: in an emulated guest each of Node's own reads costs a
// millisecond. The argument has a path a line; each content is followed by a NUL.
Napi::Value ReadFiles(const Arguments& arguments);

}  // namespace gmem

#endif  // GMEM_READ_FILES_H_
