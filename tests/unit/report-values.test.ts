// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { coloursFor, table, truncate, visibleWidth, wrap } from '../../src/report/style.js'
import { hexBigints, seconds, stripAnsi } from '../../src/report/values.js'

describe('hexBigints()', () => {
  test.each([
    ['expected 12297829382473034410n to be 0n', 'expected 0xaaaaaaaaaaaaaaaa to be 0x0'],
    ['{ gpa: 268435456n, size: 4096n }', '{ gpa: 0x10000000, size: 0x1000 }'],
    ['-4096n', '-0x1000'],
    ['7 of 12 pages, page 3 and 4n', '7 of 12 pages, page 3 and 0x4'],
    ['version 7.3n, 0x10n, name_5n and 5nodes stay', 'version 7.3n, 0x10n, name_5n and 5nodes stay'],
  ])('turns %j into %j', (text, hex) => {
    expect(hexBigints(text)).toBe(hex)
  })
})

describe('seconds()', () => {
  test.each([
    [0, '0.00 s'],
    [210, '0.21 s'],
    [9_994, '9.99 s'],
    [9_995, '10.0 s'],
    [18_340, '18.3 s'],
    [99_940, '99.9 s'],
    [99_960, '1 min 40 s'],
    [3_725_000, '62 min 05 s'],
  ])('writes %i ms as %j', (ms, text) => {
    expect(seconds(ms)).toBe(text)
  })
})

describe('text on a terminal', () => {
  test('is measured without its colours', () => {
    expect(visibleWidth('\u001b[31m✗\u001b[39m red')).toBe(5)
    expect(stripAnsi('\u001b[1m\u001b[31mx\u001b[39m\u001b[22m')).toBe('x')
  })

  test('is cut with an ellipsis, and only when it is too long', () => {
    expect(truncate('0123456789', 10)).toBe('0123456789')
    expect(truncate('0123456789a', 10)).toBe('012345678…')
  })

  test('is broken at spaces, and a word longer than the line is left whole', () => {
    expect(wrap('one two three', 7)).toEqual(['one two', 'three'])
    expect(wrap('a /very/long/path b', 6)).toEqual(['a', '/very/long/path', 'b'])
  })

  test('lines up in columns', () => {
    const rows = [
      ['target', 'passed'],
      ['\u001b[1m7.3\u001b[22m', '148'],
    ]

    expect(table(rows, ['left', 'right']).map(stripAnsi)).toEqual(['target  passed', '7.3        148'])
  })
})

describe('colours', () => {
  const colourful = (isTTY: boolean, env: NodeJS.ProcessEnv): boolean =>
    coloursFor({ isTTY }, env).red('x') !== 'x'

  test.each<[boolean, boolean, NodeJS.ProcessEnv]>([
    [true, true, { TERM: 'xterm' }],
    [false, true, { TERM: 'dumb' }],
    [false, true, { TERM: 'xterm', NO_COLOR: '1' }],
    [false, false, {}],
    [true, false, { FORCE_COLOR: '1' }],
    [false, false, { FORCE_COLOR: '1', NO_COLOR: '1' }],
    [true, false, { GITHUB_ACTIONS: 'true' }],
  ])('are %s on a terminal (%s) with %j', (expected, isTTY, env) => {
    expect(colourful(isTTY, env)).toBe(expected)
  })
})
