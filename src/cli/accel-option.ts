// SPDX-License-Identifier: Apache-2.0
import { Option } from 'commander'

/** How VMs run, where the command decides it: $GMEM_ACCEL, else what is found by trying. `what`: `how VMs run`. */
export function accelOption(what: string): Option {
  return new Option('--accel <how>', what).choices(['auto', 'kvm', 'tcg']).default('auto').env('GMEM_ACCEL')
}
