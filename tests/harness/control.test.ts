// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { describePlanted } from './support/planted.js'

await describePlanted('where nothing is planted', { fixture: 'control' }, (planted) => {
  test('nothing is found', () => {
    const { tests, unhandled, events } = planted.run
    const failed = tests.filter(({ state }) => state !== 'passed')
    expect(failed).toMatchObject([
      { name: 'Node > a failed assertion', errors: [{ name: 'AssertionError' }] },
    ])
    expect(tests.filter(({ splats, failure }) => splats.length > 0 || failure !== undefined)).toEqual([])
    expect(tests).toHaveLength(21)
    expect(unhandled).toEqual([])
    expect(events.filter(({ type }) => type === 'death' || type === 'note')).toEqual([])
  })

  test('one VM runs it all', () => {
    expect(planted.run.vms).toBe(1)
  })
})
