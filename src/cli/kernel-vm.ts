// SPDX-License-Identifier: Apache-2.0
import type { KernelImage } from '../kernels/types.js'
import { InfrastructureError } from '../qemu/errors.js'
import { createTemporaryFolder } from '../temporary.js'
import type { CliContext } from './context.js'
import { showVm } from './vm-progress.js'

/**
 * Boots a kernel once and saves its VM, where that is not done yet, so that the first test on it need not wait for that. A machine that only
 * builds may have no QEMU, and a kernel may not come up: then a line says so, and the kernel is built all the same.
 */
export async function saveVmOf(kernel: KernelImage, { progress, signal }: CliContext): Promise<void> {
  const { saveVm } = await import('../pool/in-guest.js')
  const folder = await createTemporaryFolder('save')
  try {
    progress.phase(`starting ${kernel.id}`)
    await saveVm(
      {
        kernel,
        accelerator: 'auto',
        runDir: folder.path,
        onEvent: showVm(`${kernel.id} runs`, progress),
      },
      signal,
    )
  } catch (error) {
    if (!(error instanceof InfrastructureError)) throw error
    progress.warn(`no VM of ${kernel.id} was saved: ${error.message}`)
  } finally {
    progress.end()
    await folder.remove()
  }
}
