// SPDX-License-Identifier: Apache-2.0
import type { Vitest } from 'vitest/node'
import type { RunRecorder } from '../report/recorder.js'

/** After Ctrl-C or a deadline, the tests that run get this long to end by themselves, in ms. */
const CANCEL_MS_MAX = 1_500
/** Then workers and VMs are ended, which is waited for this long, in ms. */
const CLOSE_MS_MAX = 3_000

export interface Stopper {
  /** Resolves when the run must end. */
  readonly requested: Promise<void>
  isRequested(): boolean
  dispose(): void
}

/** Watches the caller's signal and the deadline, and tells the recorder which of them ended the run. */
export function createStopper(
  recorder: RunRecorder,
  signal: AbortSignal,
  limitMs: number | undefined,
): Stopper {
  let timer: NodeJS.Timeout | undefined
  let isRequested = false
  let onAbort = (): void => {}
  const requested = new Promise<void>((resolve) => {
    const request = (): void => {
      isRequested = true
      resolve()
    }
    onAbort = () => {
      recorder.interrupted()
      request()
    }
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    if (limitMs === undefined) return
    timer = setTimeout(() => {
      const message = `the run was stopped at its deadline, ${limitMs / 1000} s`
      recorder.addError('deadline', { name: 'Deadline', message })
      request()
    }, limitMs)
  })
  const dispose = (): void => {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
  return { requested, isRequested: () => isRequested, dispose }
}

/**
 * Ends the VMs in which nothing runs yet (`closeTargets`), lets the tests that run come to their end for a moment, and then takes their
 * workers and VMs away.
 */
export async function giveUp(
  vitest: Vitest,
  running: Promise<unknown>,
  closeTargets: () => Promise<unknown>,
): Promise<void> {
  vitest.cancelCurrentRun('keyboard-input').catch(() => {})
  closeTargets().catch(() => {})
  if (await within(running, CANCEL_MS_MAX)) return
  vitest.close().catch(() => {})
  await within(running, CLOSE_MS_MAX)
}

/** Ends what is left of a run. Returns false where that takes too long: then only the end of the process ends it. */
export async function closeInTime(work: readonly Promise<unknown>[]): Promise<boolean> {
  return await within(Promise.all(work), CLOSE_MS_MAX)
}

/** Waits for `work`, but no longer than `ms`. Returns whether it ended. */
async function within(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms)
  })
  try {
    return await Promise.race([work.then(() => true), late])
  } finally {
    clearTimeout(timer)
  }
}
