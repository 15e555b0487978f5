// SPDX-License-Identifier: Apache-2.0
import type { Accelerator } from '../qemu/accelerator.js'
import type { MachineOptions } from '../qemu/machine.js'
import type { KernelPoolOptions } from './options.js'

/** What a saved VM and its copies must have in common. */
export function hardwareOf(
  { append, memory }: KernelPoolOptions,
  accelerator: Accelerator,
): Pick<MachineOptions, 'accelerator' | 'extraAppend' | 'memory'> {
  return {
    accelerator,
    ...(append !== undefined && { extraAppend: append }),
    ...(memory !== undefined && { memory }),
  }
}
