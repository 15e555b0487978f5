// SPDX-License-Identifier: Apache-2.0
import type { KernelImage } from '../kernels/types.js'
import { InfrastructureError } from '../qemu/errors.js'
import type { CliContext } from './context.js'
import { showVm, withVmFolder } from './vm-progress.js'

/**
 * Boots a kernel once and saves its VM, where that is not done yet, so that the first test on it need not wait for that. A machine that only
 * builds may have no QEMU, and a kernel may not come up: then a line says so, and the kernel is built all the same.
 */
export async function saveVmOf(kernel: KernelImage, { progress, signal }: CliContext): Promise<void> {
  const { saveVm } = await import('../pool/in-guest.js')
  const onEvent = showVm(`${kernel.id} runs`, progress)
  try {
    await withVmFolder(kernel, 'save', progress, (runDir) =>
      saveVm({ kernel, accelerator: 'auto', runDir, onEvent }, signal),
    )
  } catch (error) {
    if (!(error instanceof InfrastructureError)) throw error
    progress.warn(`no VM of ${kernel.id} was saved: ${error.message}`)
  }
}
