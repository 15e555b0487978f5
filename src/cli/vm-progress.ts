// SPDX-License-Identifier: Apache-2.0
import type { KernelImage } from '../kernels/types.js'
import type { PoolEvent } from '../pool/options.js'
import type { Progress } from '../progress.js'
import { createTemporaryFolder } from '../temporary.js'

/** Shows how a VM comes up, for the commands that need one. `who`: what the line about the accelerator begins with. */
export function showVm(who: string, progress: Progress): (event: PoolEvent) => void {
  return (event) => {
    if (event.type === 'accelerator') progress.note(`${who} on ${event.accel}: ${event.why}`)
    if (event.type === 'note') progress.warn(event.text)
    if (event.type === 'progress') progress.phase(event.text)
  }
}

/** Calls `use` with a folder for what a VM of the kernel writes, which goes when it is over. `purpose`: a word of the folder's name. */
export async function withVmFolder<T>(
  kernel: KernelImage,
  purpose: string,
  progress: Progress,
  use: (runDir: string) => Promise<T>,
): Promise<T> {
  const folder = await createTemporaryFolder(purpose)
  try {
    progress.phase(`starting ${kernel.id}`)
    return await use(folder.path)
  } finally {
    progress.end()
    await folder.remove()
  }
}
