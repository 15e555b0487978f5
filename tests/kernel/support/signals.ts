// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises'
import type { GmemContext } from 'gmem/testing'
import { sys } from './system-calls.js'

const ITIMER_REAL = 0
/** Longer than a tick of the coarsest clock that stamps files (100 Hz). */
const CLOCK_TICK_MS = 12

/** Waits until a file's time stamp cannot be the same any more. */
export async function tick(): Promise<void> {
  await sleep(CLOCK_TICK_MS)
}

/** A call during which this process gets a SIGALRM, so many ms after it began. The main thread takes it: it calls. */
export function interruptedAfter(defer: GmemContext['defer'], delayMs: number, call: () => void): () => void {
  const ignore = () => {}
  process.on('SIGALRM', ignore)
  defer(() => {
    setTimer(0)
    process.off('SIGALRM', ignore)
  })
  return () => {
    setTimer(delayMs)
    call()
  }
}

// struct itimerval: interval and value, each in seconds and microseconds.
function setTimer(delayMs: number): void {
  sys(
    'setitimer',
    ITIMER_REAL,
    new Uint8Array(BigInt64Array.of(0n, 0n, 0n, BigInt(delayMs * 1000)).buffer),
    null,
  )
}
