// SPDX-License-Identifier: Apache-2.0
import type { TargetEvent } from '../report/events.js'

/** Told what a target has to say. */
type TargetListener = (id: string, event: TargetEvent) => void

/** What targets say, kept for who listens later: VMs start before there is a reporter, and may serve several runs. */
export class TargetEvents {
  readonly #unheard: [string, TargetEvent][] = []
  /** How the VMs of a target run, and that there are some, concerns each run that it serves. */
  readonly #lasting: [string, TargetEvent][] = []
  #listener: TargetListener | null = null

  readonly emit: TargetListener = (id, event) => {
    if (event.type === 'accelerator' || event.type === 'booted') this.#lasting.push([id, event])
    if (this.#listener === null) this.#unheard.push([id, event])
    else this.#listener(id, event)
  }

  /** Tells a listener all that it has missed, and all from now on; it takes the place of the one before. */
  listen(listener: TargetListener): void {
    const missed = this.#listener === null ? this.#unheard.splice(0) : this.#lasting
    for (const [id, event] of missed) listener(id, event)
    this.#listener = listener
  }
}
