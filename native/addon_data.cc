// SPDX-License-Identifier: Apache-2.0
#include "addon_data.h"

namespace gmem {

AddonData::AddonData(Napi::Env env) : runs(std::make_shared<RunQueue>(env)) {}

}  // namespace gmem
