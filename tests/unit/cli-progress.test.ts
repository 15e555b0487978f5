// SPDX-License-Identifier: Apache-2.0
import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createProgress, duration } from '../../src/cli/progress.js'

beforeEach(() => {
  vi.useFakeTimers()
  vi.stubEnv('CI', '')
  vi.stubEnv('TERM', 'xterm')
})

afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllEnvs()
})

function streamOf(isTTY: boolean) {
  const stream = Object.assign(new PassThrough({ encoding: 'utf8' }), { isTTY, columns: 40 })
  // Only what progress uses of a terminal is there.
  const progress = createProgress(stream as unknown as NodeJS.WriteStream)
  return { progress, written: () => String(stream.read() ?? '') }
}

describe('away from a terminal', () => {
  test('a long phase prints a line every 10 s, and its time at its end', () => {
    const { progress, written } = streamOf(false)
    progress.phase('building 7.3')
    progress.update({ fraction: 0.5, detail: 'mm/memory.o' })
    vi.advanceTimersByTime(25_000)
    progress.end()

    expect(written()).toMatch(
      /^building 7\.3 · 50 % · 10 s · mm\/memory\.o\nbuilding 7\.3 · 50 % · 20 s · mm\/memory\.o\n.*building 7\.3: 25 s.*\n$/,
    )
  })

  test('a phase under a second leaves nothing', () => {
    const { progress, written } = streamOf(false)
    progress.phase('looking')
    vi.advanceTimersByTime(900)
    progress.end()

    expect(written()).toBe('')
  })
})

describe('on a terminal', () => {
  test('one line is redrawn, never wider than the terminal, and erased at the end', () => {
    const { progress, written } = streamOf(true)
    progress.phase('building 7.3')
    progress.update({ detail: 'a/very/long/path/of/an/object/that/does/not/fit.o' })
    vi.advanceTimersByTime(600)
    progress.end()

    const text = written()
    expect(text).not.toContain('\n')
    expect(text.endsWith('\r\x1b[2K')).toBe(true)
    for (const line of text.split('\r\x1b[2K')) expect(line.length).toBeLessThan(40)
  })

  test('a note keeps its line', () => {
    const { progress, written } = streamOf(true)
    progress.phase('building 7.3')
    vi.advanceTimersByTime(600)
    progress.note('something to know')

    const [, afterErasing] = written().split('\r\x1b[2K').slice(-2)
    expect(afterErasing).toMatch(/something to know.*\n$/)
  })
})

test.each([
  [1400, '1.4 s'],
  [12_300, '12 s'],
  [59_900, '1 min 00 s'],
  [119_600, '2 min 00 s'],
  [185_000, '3 min 05 s'],
])('%d ms reads %s', (milliseconds, text) => {
  expect(duration(milliseconds)).toBe(text)
})
