// SPDX-License-Identifier: Apache-2.0
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

  /** The file as a whole has left `what`. Returns null where it is to be run again, else what to tell: no test of it was found. */
  found(what: string): string | null {
    const isFirst = this.#state === 'none'
    this.#state = isFirst ? 'each-test' : 'over'
    return isFirst ? null : `a test file left behind: ${what}; run again, no single test of it did`
  }

  /** How the next VM looks for leaks, where one that runs the file for the first time does it as `usual` says. */
  policyAfter(usual: TroublePolicy['leaks']): TroublePolicy['leaks'] {
    const leaks = LEAKS[this.#state]
    return leaks === 'as-usual' ? usual : leaks
  }
}
