// SPDX-License-Identifier: Apache-2.0
import { Writable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { failureLines } from '../../src/report/failure.js'
import { linesTo, Screen } from '../../src/report/screen.js'
import { coloursFor, visibleWidth } from '../../src/report/style.js'
import { summaryLines } from '../../src/report/summary.js'
import { exampleRun } from './report-example.js'

const plain = coloursFor({ isTTY: false }, {})

describe('the summary', () => {
  test('ends with the counts alone on a line, without colour even on a terminal', () => {
    const lines = summaryLines(exampleRun(), coloursFor({ isTTY: true }, { TERM: 'xterm' }), 100)

    expect(lines.at(-1)).toBe('4 passed, 3 failed, 1 skipped')
  })

  test('has a row for each target', () => {
    const lines = summaryLines(exampleRun(), plain, 120)

    expect(lines.slice(1, 4)).toEqual([
      'target  kernel      accel  passed  failed  skipped  known issues  flaky  splats  first result    time',
      '7.3     7.3.4-gmem  tcg         3       3        1             1      1       1        1.18 s  3.10 s',
      'host    6.18.44     host        1       0        0             0      0       0        1.18 s  3.10 s',
    ])
  })

  test.each([100, 80])('fits into %i columns', (columns) => {
    const lines = summaryLines(exampleRun(), plain, columns)
    const tooWide = lines.filter((line) => visibleWidth(line) > columns && !line.startsWith('/'))

    expect(tooWide).toEqual([])
  })

  test('counts the reasons of skips, the most frequent first', () => {
    const run = exampleRun()
    const skipped = run.targets[0]?.tests[4]
    if (skipped) run.targets[0]?.tests.push({ ...skipped, reason: 'rare' }, skipped, skipped)

    const lines = summaryLines(run, plain, 200)

    const start = lines.indexOf('skipped')
    expect(lines.slice(start, start + 3)).toEqual([
      'skipped',
      '  7.3   3 skipped: needs VM type SNP: KVM_CAP_VM_TYPES reports only DEFAULT, SW_PROTECTED',
      '  7.3   1 skipped: rare',
    ])
  })

  test('names known issues with their symptom, flaky tests, and where each failure is', () => {
    const text = summaryLines(exampleRun(), plain, 200).join('\n')

    expect(text).toContain('  7.3   F1  SIGKILL waits for the whole range')
    expect(text).toContain('  7.3   conversion.test.ts  two vCPUs race: passed when tried again')
    expect(text).toContain('  ✗ 7.3   tests/kernel/conversion.test.ts:24  - vcpu #2 gets a #PF')
  })
})

describe('a failure', () => {
  const [, failed, splat] = exampleRun().targets[0]?.tests ?? []
  const context = () => ({
    target: '7.3',
    root: '/nowhere',
    colours: plain,
    columns: 80,
    seenSplats: new Map(),
  })

  test('shows message, difference, place and kernel calls', () => {
    expect(failed && failureLines(failed, context())).toEqual([
      '',
      '✗ 7.3  conversion.test.ts  - vcpu #2 gets a #PF & keeps "going" <on>',
      '    expected 0xaa to be 0x0',
      '    Subtest: looks like a header',
      '',
      '    - Expected',
      '    + Received',
      '',
      '    - 0x0',
      '    + 0xaa',
      '',
      '    at tests/kernel/conversion.test.ts:24:5',
      '    its kernel calls:',
      '      #1 +0.1ms vm#1.setMemoryAttributes(0x10000000, 0x1000, 0x8, 0x0)',
      '',
    ])
  })

  test('shows the same splat once, and counts it after that', () => {
    const shared = context()
    const first = splat ? failureLines(splat, shared) : []
    const second = splat ? failureLines(splat, shared) : []

    expect(first.join('\n')).toContain('Call Trace:')
    expect(second.join('\n')).not.toContain('Call Trace:')
    expect(second.join('\n')).toContain('shown above; this is number 2')
  })

  test('keeps the start and the end of a message that is too long', () => {
    const message = Array.from({ length: 300 }, (_, index) => `line ${index}`).join('\n')
    const lines = failed ? failureLines({ ...failed, error: { name: 'GuestDied', message } }, context()) : []

    expect(lines).toContain('    GuestDied: line 0')
    expect(lines).toContain('    … 228 lines more in result.json …')
    expect(lines).toContain('    line 299')
    expect(lines).not.toContain('    line 100')
  })
})

describe('the screen', () => {
  function record(options: { isTTY: boolean }): { stream: Writable; text: () => string } {
    let text = ''
    const stream = Object.assign(
      new Writable({
        write(chunk, _encoding, done) {
          text += String(chunk)
          done()
        },
      }),
      options,
    )
    return { stream, text: () => text }
  }

  test('draws no status line, and no escape sequence, where there is no terminal', () => {
    const { stream, text } = record({ isTTY: false })
    const screen = new Screen(stream, {})

    screen.status('busy')
    screen.print('a line')

    expect(text()).toBe('a line\n')
  })

  test('prints above the status line, and draws it again', () => {
    const { stream, text } = record({ isTTY: true })
    const screen = new Screen(stream, { TERM: 'xterm', NO_COLOR: '1' })

    screen.status('busy')
    screen.print('a line')
    screen.status('')

    expect(text()).toBe('\r\u001b[2K\u001b[?25lbusy\r\u001b[2Ka line\nbusy\r\u001b[2K\u001b[?25h')
  })

  test('takes whole lines of what vitest says', () => {
    const { stream, text } = record({ isTTY: false })
    const lines = linesTo(new Screen(stream, {}))

    lines.write('one\ntw')
    lines.write('o\nrest')

    expect(text()).toBe('one\ntwo\n')
  })

  test('goes on when its reader has gone', () => {
    const { stream } = record({ isTTY: false })
    const screen = new Screen(stream, {})

    stream.destroy(new Error('EPIPE'))

    expect(() => screen.print('a line')).not.toThrow()
  })
})
