// SPDX-License-Identifier: Apache-2.0
import { cases, describe, expect, preFault, test } from 'gmem/testing'
import { ALLOCATED, FAULT_WAYS, pfnmapModule, pfnmapRows, titleOf } from './support/pfnmap.js'
import { hammerInterrupted, hammerPrefaulted, hammerReplaced, hammerZapped } from './support/pfnmap-races.js'

const needs = [pfnmapModule]
const ROWS = pfnmapRows(ALLOCATED, FAULT_WAYS)
const ROUNDS = 20
/** Far more than it takes to hit a page fault in its middle. */
const STORMS = 100
const ZAPS = 20

// Slow: a vCPU makes a few passes over the pages in each round.
describe('a vCPU that writes all the time', () => {
  cases(ROWS, titleOf('never writes to one that was replaced'), { needs }, async (context, row) => {
    const { stale, current, passes } = await hammerReplaced(context, row, ROUNDS)

    expect(stale).toEqual([])
    expect(current).toEqual(current.map(() => passes))
  })

  // is_page_fault_stale() (7.3.4): what KVM has looked up it maps only if nothing has invalidated it since.
  cases(
    ROWS,
    titleOf('never writes to one that was replaced while another vCPU prefaulted it'),
    { needs: [...needs, preFault()] },
    async (context, row) => {
      const { stale, current, passes } = await hammerPrefaulted(context, row, ROUNDS)

      expect(stale).toEqual([])
      expect(current).toEqual(current.map(() => passes))
    },
  )

  cases(ROWS, titleOf('loses nothing when they are zapped'), { needs }, async (context, row) => {
    const { current, passes } = await hammerZapped(context, row, ROUNDS)

    expect(current).toEqual(current.map(() => passes))
  })

  // hva_to_pfn_remapped() has the driver map the page, and takes it for an error when it was zapped before it could look (7.3.4).
  test('goes on when they are zapped while KVM handles its page fault', {
    needs,
    knownIssue: {
      id: 'F8',
      symptom: 'KVM_RUN fails with EFAULT, though the driver maps the page whenever it is asked',
      expected: 'KVM asks the driver again, as a page fault of the host would',
    },
  }, async (context) => {
    const row = { kind: 'tails', way: 'fault' } as const
    const hammered = hammerInterrupted(context, row, STORMS, ZAPS)

    const end = await hammered.then(() => 'went on', String)
    expect(end).not.toContain('EFAULT')
    const { stale, current, passes } = await hammered
    expect(stale).toEqual([])
    expect(current).toEqual(current.map(() => passes))
  })
})
