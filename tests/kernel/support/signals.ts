// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises'
import type { GmemContext } from 'gmem/testing'
import { errnoOf } from './conversion.js'
import { sys } from './system-calls.js'

const ITIMER_REAL = 0
const CLOCK_REALTIME_COARSE = 5
/** Once in so many ms the process gets a signal: often in the middle of a call of some ms. */
const SIGNAL_PERIOD_US = 1000n
const CALLS_MAX = 100

/** Waits until the clock that stamps files has moved: on a busy emulated CPU its tick can be late by any time. */
export async function tick(): Promise<void> {
  const before = coarseTime()
  while (coarseTime() === before) await sleep(1)
}

function coarseTime(): string {
  const timespec = new Uint8Array(16)
  sys('clock_gettime', CLOCK_REALTIME_COARSE, timespec)
  return timespec.join()
}

/**
 * Makes a call again and again while SIGALRM comes in short intervals, until it fails: the errno's name, '' where it never did. The
 * main thread, which makes the calls, is the one that takes the signals.
 */
export function failureUnderSignals(scope: Pick<GmemContext, 'defer'>, call: () => void): string {
  return underSignals(scope, () => errnoOf(call) || null) ?? ''
}

/** The same for calls whose interruption shows in another way: until one gives something, or null where none did. */
export function underSignals<T>({ defer }: Pick<GmemContext, 'defer'>, call: () => T | null): T | null {
  const ignore = () => {}
  process.on('SIGALRM', ignore)
  defer(() => {
    process.off('SIGALRM', ignore)
  })
  setTimer(SIGNAL_PERIOD_US)
  try {
    for (let calls = 0; calls < CALLS_MAX; calls += 1) {
      const seen = call()
      if (seen !== null) return seen
    }
    return null
  } finally {
    setTimer(0n)
  }
}

// struct itimerval: interval and first expiry, each in seconds and microseconds.
function setTimer(periodUs: bigint): void {
  sys('setitimer', ITIMER_REAL, new Uint8Array(BigInt64Array.of(0n, periodUs, 0n, periodUs).buffer), null)
}
