// SPDX-License-Identifier: Apache-2.0
/** How long one vCPU operation may take before the vCPU is kicked, in ms, before scaling. */
export const OPERATION_DEADLINE_MS = 10_000

/** How much slower than a plain kernel on hardware virtualization this target is, by $GMEM_SLOWDOWN; 1 where unset. */
export function slowdown(): number {
  const factor = Number(process.env.GMEM_SLOWDOWN ?? '1')
  return Number.isFinite(factor) && factor >= 1 ? factor : 1
}

/** A limit in ms, scaled for the target. */
export function scaledMs(limitMs: number): number {
  return Math.ceil(limitMs * slowdown())
}
