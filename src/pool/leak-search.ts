// SPDX-License-Identifier: Apache-2.0
import { basename } from 'node:path'
import type { WorkerRequest } from 'vitest/node'
import type { TroublePolicy } from './protocol.js'

const LEAKS = { none: 'as-usual', 'each-test': 'thorough', over: 'off' } as const

/**
 * Finds the test that left something behind: the whole file again, in a fresh VM, looking after each test. What does not show again
 * is no verdict on any test; it is said, and the results stand.
 */
export class LeakSearch {
  #state: keyof typeof LEAKS = 'none'

  /** Whether the file runs as usual: nothing was found yet. */
  get isIdle(): boolean {
    return this.#state === 'none'
  }

  /** The file of `run` as a whole has left `what`. Says whether to run it `again` from its first test, or that no test of it was found. */
  found(run: WorkerRequest | null, what: string): { readonly again: boolean; readonly text: string } {
    const again = this.#state === 'none'
    this.#state = again ? 'each-test' : 'over'
    const then = again ? 'it runs again, looking after each test' : 'run again, no single test of it did'
    return { again, text: `${nameOf(run)} may have left behind ${what}: ${then}` }
  }

  /** How the next VM looks for leaks, where one that runs the file for the first time does it as `usual` says. */
  policyAfter(usual: TroublePolicy['leaks']): TroublePolicy['leaks'] {
    const leaks = LEAKS[this.#state]
    return leaks === 'as-usual' ? usual : leaks
  }
}

function nameOf(run: WorkerRequest | null): string {
  if (run?.type !== 'run' && run?.type !== 'collect') return 'a test file'
  return run.context.files.map(({ filepath }) => basename(filepath)).join(', ')
}
