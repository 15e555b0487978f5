// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path'
import { firstLine } from '../errors.js'
import { cacheRoot } from '../paths.js'
import { SavedVmError } from '../qemu/errors.js'
import type { Initramfs } from '../qemu/initramfs.js'
import type { Machine, SavedState } from '../qemu/machine.js'
import { ensureSaved } from '../qemu/saved.js'
import type { hardwareOf } from './hardware.js'
import type { KernelPoolOptions, PoolEvent } from './options.js'

/** What a saved VM is made of. */
interface Making {
  readonly hardware: ReturnType<typeof hardwareOf>
  readonly initramfs: Initramfs
  /** Waits until the VM is ready to be saved. */
  readonly boot: (machine: Machine) => Promise<void>
  readonly signal: AbortSignal
  readonly emit: (event: PoolEvent) => void
}

/** The saved VM of a kernel: from the cache, or booted and saved. Null, with a note, where it cannot be saved. */
export async function savedVmOf(
  options: KernelPoolOptions,
  { hardware, initramfs, boot, signal, emit }: Making,
): Promise<SavedState | null> {
  const { kernel, runDir } = options
  try {
    return await ensureSaved(kernel, {
      ...hardware,
      cacheDir: cacheRoot(),
      initramfs,
      consoleFile: join(runDir, `console-${kernel.id}-saved.log`),
      mayBeRelated: options.exchangeKvm ?? false,
      onlyExisting: options.cold ?? false,
      boot,
      signal,
      progress: (text) => emit({ type: 'progress', text }),
    })
  } catch (error) {
    if (!(error instanceof SavedVmError)) throw error
    emit({ type: 'note', text: `${firstLine(error)}; every test file boots its own VM` })
    return null
  }
}
