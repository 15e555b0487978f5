// SPDX-License-Identifier: Apache-2.0
import pc from 'picocolors'
import type { Progress } from '../progress.js'

const redrawMs = 100
const plainLineMs = 10_000
const silentUntilMs = 400

interface Phase {
  readonly title: string
  readonly startedAt: number
  fraction: number | null
  detail: string
  /** When a plain line was last printed for it. */
  printedAt: number
}

/**
 * Draws progress: on a terminal one line that is redrawn, elsewhere a line every 10 s. A phase that is over before
 * one could read it leaves no trace; one that took over a second leaves a line with its time.
 */
export function createProgress(stream: NodeJS.WriteStream): Progress {
  const isTerminal = stream.isTTY === true && process.env.TERM !== 'dumb' && !process.env.CI
  let phase: Phase | null = null
  let timer: NodeJS.Timeout | null = null
  let drawn = false

  const erase = (): void => {
    if (drawn) stream.write('\r\x1b[2K')
    drawn = false
  }
  const line = (text: string): void => {
    erase()
    stream.write(`${text}\n`)
  }
  const tick = (): void => {
    if (phase === null || Date.now() - phase.startedAt < silentUntilMs) return
    if (isTerminal) {
      const columns = stream.columns ?? 80
      stream.write(`\r\x1b[2K${describe(phase).slice(0, columns - 1)}`)
      drawn = true
    } else if (Date.now() - phase.printedAt >= plainLineMs) {
      phase.printedAt = Date.now()
      line(describe(phase))
    }
  }
  const end = (): void => {
    if (timer !== null) clearInterval(timer)
    timer = null
    erase()
    const elapsed = phase === null ? 0 : Date.now() - phase.startedAt
    if (phase !== null && elapsed >= 1000) line(pc.dim(`${phase.title}: ${duration(elapsed)}`))
    phase = null
  }

  process.once('exit', erase)
  return {
    phase: (title) => {
      if (phase?.title === title) return
      end()
      phase = { title, startedAt: Date.now(), fraction: null, detail: '', printedAt: Date.now() }
      timer = setInterval(tick, redrawMs)
      timer.unref()
    },
    update: ({ fraction, detail }) => {
      if (phase === null) return
      if (fraction !== undefined) phase.fraction = fraction
      if (detail !== undefined) phase.detail = detail
    },
    note: (text) => line(pc.dim(text)),
    warn: (text) => line(`${pc.yellow('warning:')} ${text}`),
    end,
  }
}

function describe({ title, startedAt, fraction, detail }: Phase): string {
  const parts = [title]
  if (fraction !== null) parts.push(`${Math.floor(fraction * 100)} %`)
  parts.push(duration(Date.now() - startedAt))
  if (detail !== '') parts.push(detail)
  return parts.join(' · ')
}

/** `1.4 s`, `12 s`, `3 min 05 s`. */
export function duration(milliseconds: number): string {
  if (milliseconds < 9950) return `${(milliseconds / 1000).toFixed(1)} s`
  const seconds = Math.round(milliseconds / 1000)
  if (seconds < 60) return `${seconds} s`
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`
}
