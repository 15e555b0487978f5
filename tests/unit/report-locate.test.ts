// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { fromTheMiddle, locate } from '../../src/report/locate.js'

/** A series as what is seen after each patch; a dot cannot be tested. Notes the points that are looked at. */
function seriesOf(text: string) {
  const looked: number[] = []
  return {
    looked,
    steps: () =>
      locate<string>(0, text.length - 1, {
        look: async (point) => {
          looked.push(point)
          return text[point] === '.' ? null : (text[point] ?? null)
        },
        differ: (a, b) => a !== b,
      }),
  }
}

describe('what changed a result', () => {
  test.each([
    ['aab', [{ after: 1, by: 2 }]],
    ['ab', [{ after: 0, by: 1 }]],
    ['aaaabbbb', [{ after: 3, by: 4 }]],
    [
      'aabbcc',
      [
        { after: 1, by: 2 },
        { after: 3, by: 4 },
      ],
    ],
    ['a..b', [{ after: 0, by: 3 }]],
    ['aa.bb', [{ after: 1, by: 3 }]],
    ['aaaa', []],
    ['abba', []],
    ['a', []],
    ['a.', []],
    ['.a', []],
  ])('is found in %s', async (text, steps) => {
    expect(await seriesOf(text).steps()).toEqual(steps)
  })

  test('is not looked for between ends that are alike', async () => {
    const series = seriesOf('aaaaaaaaa')

    await series.steps()

    expect(series.looked).toEqual([0, 8])
  })

  test('is found by halves, each point looked at once', async () => {
    const series = seriesOf(`${'a'.repeat(50)}${'b'.repeat(50)}`)

    await series.steps()

    expect(series.looked.length).toBeLessThanOrEqual(9)
    expect(new Set(series.looked).size).toBe(series.looked.length)
  })
})

test('points between two others come from the middle outwards', () => {
  expect(fromTheMiddle(0, 6)).toEqual([3, 2, 4, 1, 5])
  expect(fromTheMiddle(0, 3)).toEqual([1, 2])
  expect(fromTheMiddle(4, 5)).toEqual([])
})
