// SPDX-License-Identifier: Apache-2.0
import { cases, describe, expect } from 'gmem/testing'
import { ALLOCATED, FAULT_WAYS, pfnmapModule, pfnmapRows, titleOf } from './support/pfnmap.js'
import { hammerReplaced, hammerZapped } from './support/pfnmap-races.js'

const needs = [pfnmapModule]
const ROWS = pfnmapRows(ALLOCATED, FAULT_WAYS)
const ROUNDS = 20

// Slow: a vCPU makes a few passes over the pages in each round.
describe('a vCPU that writes all the time', () => {
  cases(ROWS, titleOf('never writes to one that was replaced'), { needs }, async (context, row) => {
    const { stale, current, passes } = await hammerReplaced(context, row, ROUNDS)

    expect(stale).toEqual([])
    expect(current).toEqual(current.map(() => passes))
  })

  cases(ROWS, titleOf('loses nothing when they are zapped'), { needs }, async (context, row) => {
    const { current, passes } = await hammerZapped(context, row, ROUNDS)

    expect(current).toEqual(current.map(() => passes))
  })
})
