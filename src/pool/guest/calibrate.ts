// SPDX-License-Identifier: Apache-2.0
import { deflateRawSync } from 'node:zlib'

const INPUT_BYTES = 96 * 1024

/**
 * The time of a fixed amount of work, in ms: run on the host and in the guest, the ratio is how much slower the guest
 * is (an emulated CPU, a debug kernel), and what its time limits are stretched by. The work is compiled C, because V8 may
 * compile JavaScript here and interpret it there. Best of three, so that an interrupt does not count.
 */
export function calibrate(): number {
  const input = Buffer.allocUnsafe(INPUT_BYTES)
  for (let index = 0; index < INPUT_BYTES; index++) input[index] = (index * index) >> 7
  let best = Number.POSITIVE_INFINITY
  for (let attempt = 0; attempt < 3; attempt++) best = Math.min(best, workMs(input))
  return best
}

function workMs(input: Buffer): number {
  const startedMs = performance.now()
  deflateRawSync(input)
  return performance.now() - startedMs
}
