// SPDX-License-Identifier: Apache-2.0
/** How long one vCPU operation may take before the vCPU is kicked, in ms, before scaling. */
export const OPERATION_DEADLINE_MS = 10_000

// Every operation of a vCPU asks, and process.env is no plain object: under TCG a look costs a sixth of the operation.
let known: number | null = null

/** How much slower than a plain kernel on hardware virtualization this target is, by $GMEM_SLOWDOWN; 1 where unset. */
export function slowdown(): number {
  known ??= slowdownOf(process.env.GMEM_SLOWDOWN ?? '1')
  return known
}

/** $GMEM_SLOWDOWN has changed: it is read again. */
export function forgetSlowdown(): void {
  known = null
}

function slowdownOf(text: string): number {
  const factor = Number(text)
  return Number.isFinite(factor) && factor >= 1 ? factor : 1
}

/** A limit in ms, scaled for the target. */
export function scaledMs(limitMs: number): number {
  return Math.ceil(limitMs * slowdown())
}
