// SPDX-License-Identifier: Apache-2.0
import type { PoolEvent } from '../pool/options.js'
import type { Progress } from '../progress.js'

/** Shows how a VM comes up, for the commands that need one. `who`: what the line about the accelerator begins with. */
export function showVm(who: string, progress: Progress): (event: PoolEvent) => void {
  return (event) => {
    if (event.type === 'accelerator') progress.note(`${who} on ${event.accel}: ${event.why}`)
    if (event.type === 'note') progress.warn(event.text)
    if (event.type === 'progress') progress.phase(event.text)
  }
}
