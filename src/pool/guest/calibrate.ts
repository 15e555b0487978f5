// SPDX-License-Identifier: Apache-2.0

const ROUNDS = 200_000

/**
 * The time of a fixed amount of work, in ms: run on the host and in the guest, the ratio is how much slower the guest
 * is (an emulated CPU, a debug kernel), and what its time limits are stretched by. Best of three, so that a
 * compile or an interrupt does not count.
 */
export function calibrate(): number {
  let best = Number.POSITIVE_INFINITY
  for (let attempt = 0; attempt < 3; attempt++) best = Math.min(best, workMs())
  return best
}

function workMs(): number {
  const startedMs = performance.now()
  let hash = 2166136261
  for (let round = 0; round < ROUNDS; round++) hash = Math.imul(hash ^ (round & 0xff), 16777619)
  const elapsedMs = performance.now() - startedMs
  // The result is used so that the loop cannot be optimised away.
  return hash === 0 ? elapsedMs + Number.EPSILON : elapsedMs
}
