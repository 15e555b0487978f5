// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { populationLines, populationReport } from '../../src/report/population-bench.js'

const report = populationReport('7.3+write', 'tcg', {
  release: '7.3.4-gmem',
  processors: 2,
  memoryBytes: 2 ** 30,
  series: [
    { way: 'write', sizeBytes: 2 ** 20, durationsNs: [500_000, 1_000_000, 2_000_000] },
    { way: 'mapping', sizeBytes: 2 ** 20, durationsNs: [2_000_000] },
    { way: 'guest', sizeBytes: 4096, durationsNs: [9_000_000] },
  ],
  guestCommandNs: 7_500_000,
  left: [{ what: 'fallocate() and KVM_PRE_FAULT_MEMORY', reason: 'it fails with EOPNOTSUPP' }],
})

test('each way is related to a copy of the same size into the mapping, and to nothing where there is none', () => {
  expect(report.rows.map(({ way, againstMapping }) => [way, againstMapping])).toEqual([
    ['write', 0.5],
    ['mapping', 1],
    ['guest', null],
  ])
})

test('a person reads sizes in order, how fast, the ratio, what is in the times of the guest, and what is missing', () => {
  const lines = populationLines(report, {}).join('\n')

  expect(lines).toMatch(
    / 4K +the guest writes +9\.00 ms .* 1\s*\n +1M +copy into the mapping +2\.00 ms .* 500 +1\s*\n/,
  )
  expect(lines).toMatch(/1M +write\(\) +1\.00 ms +2\.00 ms +2\.00 ms +1000 +3 +0\.50 ×/)
  expect(lines).toContain('7.50 ms, which is part of its times')
  expect(lines).toContain('fallocate() and KVM_PRE_FAULT_MEMORY: it fails with EOPNOTSUPP')
})
