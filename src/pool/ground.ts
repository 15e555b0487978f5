// SPDX-License-Identifier: Apache-2.0
import { mkdirSync } from 'node:fs'
import { buildTestModules } from '../kernels/index.js'
import { cacheRoot } from '../paths.js'
import type { Accelerator } from '../qemu/accelerator.js'
import { chooseAccelerator } from '../qemu/choose-accelerator.js'
import type { Initramfs } from '../qemu/initramfs.js'
import { guestInitramfs } from './guest-files.js'
import type { KernelPoolOptions, PoolEvent } from './options.js'

/** What every VM of a kernel needs. */
export interface Unsaved {
  readonly accelerator: Accelerator
  readonly initramfs: Initramfs
}

/** Finds out how VMs run here, and makes the initramfs for a kernel. Throws InfrastructureError where there can be no VM. */
export async function groundOf(
  { accelerator: request, kernel, runDir, extraFiles }: KernelPoolOptions,
  signal: AbortSignal,
  emit: (event: PoolEvent) => void,
): Promise<Unsaved> {
  mkdirSync(runDir, { recursive: true })
  const accelerator = await chooseAccelerator({
    request,
    cacheDir: cacheRoot(),
    kernel,
    progress: (text) => emit({ type: 'progress', text }),
  })
  emit({ type: 'accelerator', accel: accelerator.kind, why: accelerator.why })
  const modules = await buildTestModules(kernel, { signal, wait: false })
  const initramfs = await guestInitramfs(kernel, {
    emulated: accelerator.kind === 'tcg',
    modules,
    ...(extraFiles && { extraFiles }),
  })
  return { accelerator, initramfs }
}
