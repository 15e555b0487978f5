// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { bisect, type Verdict, verdictOf } from '../../src/report/bisect.js'
import { fromTheMiddle } from '../../src/report/locate.js'

/** A line of commits, each with its letter: g good, b bad, s cannot be tested. The first is known good, the last known bad. */
async function search(text: string): Promise<{ culprits: number[]; tried: number }> {
  const verdicts: Record<string, Verdict> = { g: 'good', b: 'bad', s: 'skip' }
  const { culprits, tried } = await bisect('0', String(text.length - 1), {
    candidates: async (goods, bad) => fromTheMiddle(Math.max(...goods.map(Number)), Number(bad)).map(String),
    verdict: async (commit) => verdicts[text[Number(commit)] ?? ''] ?? 'skip',
  })
  return { culprits: culprits.map(Number).sort((a, b) => a - b), tried: tried.length }
}

describe('the first bad commit', () => {
  test.each([
    ['gb', [1]],
    ['gggbbb', [3]],
    ['gbbbbb', [1]],
    ['gggggb', [5]],
    ['ggsbb', [2, 3]],
    ['gsssb', [1, 2, 3, 4]],
    ['gsgbsb', [3]],
  ])('of %s', async (text, culprits) => {
    expect((await search(text)).culprits).toEqual(culprits)
  })

  test('of a hundred is found in seven steps', async () => {
    expect((await search(`${'g'.repeat(40)}${'b'.repeat(60)}`)).tried).toBeLessThanOrEqual(7)
  })
})

// README, exit codes; git-bisect(1): 125 skips, 128 and above stops.
test.each([
  [0, 'good'],
  [1, 'bad'],
  [3, 'bad'],
  [5, 'bad'],
  [124, 'bad'],
  [4, 'skip'],
  [69, 'skip'],
  [125, 'skip'],
  [2, null],
  [130, null],
])('exit code %i is %s', (code, verdict) => {
  expect(verdictOf(code)).toBe(verdict)
})
