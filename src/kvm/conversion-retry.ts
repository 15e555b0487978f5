// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bytes } from '../units.js'
import { ConversionError, type Sharing } from './conversion.js'
import type { Span } from './range.js'
import { scaledMs } from './time.js'

const ATTEMPTS_MAX = 20
const PAUSE_MS = 1

/** A page that somebody still uses: the conversion failed with EAGAIN because of it. */
export interface BlockedPage {
  /** In the file, in bytes. */
  readonly offset: Bytes
  /** How often the conversion was tried so far, from 1. */
  readonly attempts: number
}

/** How a conversion is tried again. */
export interface ConvertRetryOptions {
  /** Drops what the caller holds on the page. The conversion is tried again when it has come back, or its promise is fulfilled. */
  readonly release: (page: BlockedPage) => void | Promise<void>
  /** Attempts in all; default 20. */
  readonly attemptsMax?: number
  /** Between a release and the next attempt, in ms: the kernel may drop a reference a little later. Default 1, scaled for the target. */
  readonly pauseMs?: number
  /** Ends the waiting: the signal's reason is thrown. */
  readonly signal?: AbortSignal
}

interface Convertible {
  convert(range: Span, to: Sharing): void
}

/**
 * Converts a range, and where a page of it is in use (EAGAIN) has the caller release that page and tries again: the kernel itself never
 * waits. Resolves with the number of attempts that it took. ConversionError EAGAIN when there were `attemptsMax`, at once for other errnos.
 */
export async function convertWithRetry(
  file: Convertible,
  conversion: { readonly range: Span; readonly to: Sharing },
  options: ConvertRetryOptions,
): Promise<number> {
  const { attemptsMax = ATTEMPTS_MAX, pauseMs = scaledMs(PAUSE_MS), signal, release } = options
  for (let attempts = 1; ; attempts += 1) {
    signal?.throwIfAborted()
    const blocked = blockedBy(() => file.convert(conversion.range, conversion.to))
    if (blocked === null) return attempts
    if (attempts >= attemptsMax) throw blocked.error
    await release({ offset: blocked.offset, attempts })
    await pause(pauseMs, signal)
  }
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal === undefined ? {} : { signal })
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  }
}

function blockedBy(attempt: () => void): { readonly offset: Bytes; readonly error: ConversionError } | null {
  try {
    attempt()
    return null
  } catch (error) {
    const isBlocked = error instanceof ConversionError && error.code === 'EAGAIN'
    if (!isBlocked || error.errorOffset === null) throw error
    return { offset: error.errorOffset, error }
  }
}
