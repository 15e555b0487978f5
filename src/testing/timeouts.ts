// SPDX-License-Identifier: Apache-2.0
import { scaledMs } from '../kvm/index.js'

/** A test's limit in ms, before scaling. */
export const DEFAULT_TIMEOUT_MS = 20_000

/** How much later vitest's own limit comes, in ms: by then a vCPU was kicked and joined (bound: 5 s). */
export const VITEST_GRACE_MS = 10_000

/** A limit in ms, scaled for the target by $GMEM_SLOWDOWN. */
export function scaledTimeoutMs(limitMs: number): number {
  return scaledMs(limitMs)
}

/** The test took longer than it may. */
export class TestTimeoutError extends Error {
  override readonly name = 'TestTimeoutError'

  constructor(timeoutMs: number, lastCalls: readonly string[]) {
    const calls =
      lastCalls.length === 0
        ? ''
        : `; the last native calls were:\n${lastCalls.map((call) => `  ${call}`).join('\n')}`
    super(`the test did not finish within ${timeoutMs} ms${calls}`)
  }
}
