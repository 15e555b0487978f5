// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { Coverage, type LineCoverage } from '../../src/report/coverage/model.js'
import { parseReach, reachText } from '../../src/report/coverage/reach.js'
import { distances, sampleOfFunction } from '../../src/report/coverage/sample.js'

const FILE = 'virt/kvm/guest_memfd.c'

function line(tests: readonly string[], ...ways: string[][]): LineCoverage {
  return {
    count: tests.length,
    functionName: 'kvm_gmem_create',
    branches: ways.map((way) => way.length),
    tests: new Set(tests),
    testsByBranch: ways.map((way) => new Set(way)),
  }
}

const many = Array.from({ length: 9 }, (_, number) => `many ${number}`)
/** if (no size || not aligned) return -EINVAL; */
const lines = [
  line([...many, 'no size', 'not aligned'], ['no size'], ['not aligned'], many),
  line(['no size', 'not aligned']),
  line(many),
]

test('a sample has five tests for each way through a function, and all where there are fewer', () => {
  const sample = sampleOfFunction(lines, new Map())

  expect([...sample].sort()).toEqual([...many.slice(0, 5), 'no size', 'not aligned'])
})

test('of tests that take the same way, those that reach least of the kernel are taken', () => {
  const reached = new Map(many.map((name, number) => [name, 100 - number]))

  expect([...sampleOfFunction(lines, reached)]).toEqual(
    expect.arrayContaining(['many 8', 'many 7', 'many 6']),
  )
})

test('a test that was taken for a rare way counts for the common ones', () => {
  const rare = [
    line([...many, 'rare'], many, ['rare']),
    line(['rare', 'many 0', 'many 1', 'many 2', 'many 3']),
  ]

  expect([...sampleOfFunction(rare, new Map())].sort()).toEqual([...many.slice(0, 5), 'rare'])
})

test('what gcov counted for each test becomes ways, and these a sample in the reach file', () => {
  const coverage = new Coverage()
  const counted = (line_number: number, count: number, branches: number[]) => ({
    line_number,
    count,
    function_name: 'kvm_gmem_create',
    branches: branches.map((taken) => ({ count: taken, throw: false })),
  })
  const functions = [{ name: 'kvm_gmem_create', start_line: 1, end_line: 3 }]
  for (const name of many)
    coverage.add(name, [{ file: FILE, functions, lines: [counted(1, 1, [0, 1]), counted(2, 0, [])] }])
  coverage.add('rare', [{ file: FILE, functions, lines: [counted(1, 1, [1, 0]), counted(2, 1, [])] }])
  const reach = parseReach(reachText('7.3.4-gmem', [...many, 'rare'], coverage))

  // It reaches one line more.
  expect(distances(coverage, () => false).get('rare')).toBe(2)
  expect(distances(coverage, () => true).get('rare')).toBeGreaterThan(1_000)
  expect(reach.testsOf(FILE, 'kvm_gmem_create')?.size).toBe(10)
  expect([...reach.sampleOf(FILE, 'kvm_gmem_create')].sort()).toEqual([...many.slice(0, 5), 'rare'])
  expect(reach.sampleOf(FILE, 'another')).toEqual(new Set())
})
