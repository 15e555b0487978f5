// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { joined, onlyTestsOf, stagesOf } from '../../src/cli/watch-stages.js'
import { projectRoot } from '../../src/paths.js'
import { Coverage, type LineCoverage } from '../../src/report/coverage/model.js'
import { parseReach, reachText } from '../../src/report/coverage/reach.js'
import type { TargetResult, TestResult } from '../../src/report/schema.js'

const FILE = 'virt/kvm/guest_memfd.c'
const HOLE = 'tests/kernel/punch-hole.test.ts'
const MAPPING = 'tests/kernel/mapping.test.ts'

/** What a run saw of tests that are named `file > name`; those after a `-` were skipped. */
function result(...names: string[]): TargetResult {
  const tests = names.map((text): TestResult => {
    const [file = '', ...rest] = text.replace(/^-/, '').split(' > ')
    const status = text.startsWith('-') ? 'skipped' : 'passed'
    return { file, name: rest.join(' > '), status, durationMs: 1 }
  })
  const skipped = tests.filter(({ status }) => status === 'skipped').length
  return { passed: tests.length - skipped, failed: 0, skipped, tests } as unknown as TargetResult
}

/** Which of the tests run each function of FILE. */
function reachOf(tests: readonly string[], functions: Readonly<Record<string, readonly string[]>>) {
  const coverage = new Coverage()
  const lines = new Map<number, LineCoverage>()
  const entries = Object.entries(functions)
  for (const [index, [functionName, by]] of entries.entries())
    lines.set(index, { count: by.length, functionName, branches: [], tests: new Set(by), testsByBranch: [] })
  const ends = new Map(entries.map(([name], index) => [name, { start: index, end: index }]))
  coverage.files.set(FILE, { lines, functions: ends })
  coverage.files.set('include/linux/kvm_host.h', { lines: new Map(), functions: new Map() })
  return parseReach(reachText('7.3.4-gmem', tests, coverage))
}

const ALL = [
  `${HOLE} > a hole > reads zero (at once)`,
  `${HOLE} > a hole > of no size is EINVAL`,
  `${MAPPING} > a mapping > survives a hole`,
  `${MAPPING} > a mapping > is shared`,
  `${MAPPING} > a mapping > ends`,
]
const reach = reachOf(ALL, {
  kvm_gmem_punch_hole: [ALL[0], ALL[2]] as string[],
  kvm_gmem_mmap: [ALL[2], ALL[3], ALL[4]] as string[],
  kvm_gmem_release: ALL,
  kvm_gmem_migrate_folio: [],
})

function changed(...names: string[]): Map<string, string[]> {
  return new Map([[FILE, names]])
}

function asked(...filters: string[]) {
  return { filters, withSlow: false }
}

test('a reach file holds what was put into it, and nothing of functions that were not counted', () => {
  expect(reach.release).toBe('7.3.4-gmem')
  expect([...reach.tests].sort()).toEqual([...ALL].sort())
  expect(reach.testsOf(FILE, 'kvm_gmem_punch_hole')).toEqual(new Set([ALL[0], ALL[2]]))
  expect(reach.testsOf(FILE, 'kvm_gmem_release')).toEqual(new Set(ALL))
  expect(reach.testsOf(FILE, 'kvm_gmem_migrate_folio')).toEqual(new Set())
  expect(reach.testsOf(FILE, 'kvm_gmem_new')).toBeNull()
  expect(reach.testsOf('virt/kvm/kvm_main.c', 'kvm_gmem_mmap')).toBeNull()
  const names = ['kvm_gmem_mmap', 'kvm_gmem_punch_hole', 'kvm_gmem_release'].map((name) => `${FILE}:${name}`)
  expect([...reach.functionsOf(ALL[2] ?? '')].sort()).toEqual(names)
  expect(reach.functionsOf('another')).toEqual(new Set())
})

test('tests that run what changed come first, the others after them', () => {
  const stages = stagesOf(
    result(...ALL),
    changed('kvm_gmem_punch_hole'),
    reach,
    asked('punch-hole', 'mapping.test'),
  )

  expect(stages?.first).toMatchObject({ filters: [HOLE, MAPPING], tests: 2 })
  expect(stages?.rest).toMatchObject({ filters: [HOLE, MAPPING], tests: 3 })
  const [first, rest] = [new RegExp(stages?.first.name ?? ''), new RegExp(stages?.rest.name ?? '')]
  for (const [index, test] of ALL.entries()) {
    // As vitest has it, and as results do.
    for (const separator of [' ', ' > ']) {
      const name = test.split(' > ').slice(1).join(separator)
      expect(first.test(name)).toBe(index === 0 || index === 2)
      expect(rest.test(name)).toBe(index !== 0 && index !== 2)
    }
  }
})

test('a file of which all tests come first is not read again', () => {
  const stages = stagesOf(
    result(...ALL),
    changed('kvm_gmem_mmap'),
    reach,
    asked('punch-hole', 'mapping.test'),
  )

  expect(stages?.first.filters).toEqual([MAPPING])
  expect(stages?.rest.filters).toEqual([HOLE])
})

test('a test that was never seen by gmem coverage comes first', () => {
  const fresh = `${HOLE} > a hole > is new`
  const stages = stagesOf(result(...ALL, fresh), changed('kvm_gmem_punch_hole'), reach, asked(HOLE))

  expect(stages?.first.tests).toBe(3)
  expect('a hole is new').toMatch(new RegExp(stages?.first.name ?? ''))
})

test('a name that tests of two files have is of one part', () => {
  const twin = `${MAPPING} > a hole > reads zero (at once)`
  const stages = stagesOf(
    result(...ALL, twin),
    changed('kvm_gmem_punch_hole'),
    reachOf([...ALL, twin], {
      kvm_gmem_punch_hole: [ALL[0] as string],
    }),
    asked(HOLE, MAPPING),
  )

  expect(stages?.first).toMatchObject({ filters: [HOLE, MAPPING], tests: 2 })
})

test('slow files are of the rest where they were asked for', () => {
  const restOf = (withSlow: boolean) =>
    stagesOf(result(...ALL), changed('kvm_gmem_punch_hole'), reach, { filters: [], withSlow })?.rest.filters
  const isSlow = (file: string) => file.endsWith('.slow.test.ts')

  expect(restOf(false)?.some(isSlow)).toBe(false)
  expect(restOf(true)?.some(isSlow)).toBe(true)
})

test('of tests that take long, some come first: near what changed, and such that they run all that the others run', () => {
  const [file, other] = ['tests/kernel/fallocate.test.ts', 'tests/kernel/mapping.test.ts']
  const many = Array.from({ length: 20 }, (_, number) => `${file} > a test > number ${number}`)
  const rare = `${other} > a test > of a hole`
  const tests = [...many, rare]
  const before = result(...tests, ...ALL)
  const slow = before.tests.map((test, number) => ({ ...test, durationMs: 2_000 - number }))
  const known = reachOf([...tests, ...ALL], { kvm_gmem_get_folio: tests, kvm_gmem_punch_hole: [rare] })
  const stages = stagesOf({ ...before, tests: slow }, changed('kvm_gmem_get_folio'), known, asked())

  expect(stages?.concerned).toBe(21)
  // Five that run it, and the only one that punches a hole besides.
  expect(stages?.first).toMatchObject({ filters: [file, other], tests: 6 })
  expect('a test of a hole').toMatch(new RegExp(stages?.first.name ?? ''))
  expect(stages?.rest.tests).toBe(20)
})

test('a new test comes first beside such a sample', () => {
  const many = Array.from({ length: 20 }, (_, number) => `${MAPPING} > a test > number ${number}`)
  const fresh = `${HOLE} > a hole > is new`
  const before = result(...many, fresh)
  const slow = before.tests.map((test) => ({ ...test, durationMs: 2_000 }))
  const known = reachOf(many, { kvm_gmem_get_folio: many })
  const stages = stagesOf({ ...before, tests: slow }, changed('kvm_gmem_get_folio'), known, asked())

  expect(stages).toMatchObject({ concerned: 21, first: { tests: 6 } })
  expect('a hole is new').toMatch(new RegExp(stages?.first.name ?? ''))
})

test.each([
  ['was not counted', 'kvm_gmem_new'],
  ['nearly every test runs', 'kvm_gmem_release'],
  ['no test runs', 'kvm_gmem_migrate_folio'],
])('a function that %s gives no parts', (_, name) => {
  expect(stagesOf(result(...ALL), changed(name), reach, asked())).toBeNull()
  expect(stagesOf(result(...ALL), changed(name, 'kvm_gmem_release'), reach, asked())).toBeNull()
})

test('skipped tests are of the part in which their file is, and count in neither', () => {
  const skipped = `-${HOLE} > a hole > on TDX`
  const stages = stagesOf(
    result(...ALL, skipped),
    changed('kvm_gmem_punch_hole'),
    reach,
    asked(HOLE, MAPPING),
  )

  expect(stages?.first.tests).toBe(2)
  expect(stages?.rest.tests).toBe(3)
  expect('a hole on TDX').toMatch(new RegExp(stages?.rest.name ?? ''))
})

test('the results of both parts are one result, and each is compared with its own tests', () => {
  const [first, rest] = [
    result(ALL[0] ?? '', ALL[2] ?? ''),
    result(...ALL.slice(3), `-${HOLE} > a hole > on TDX`),
  ]

  expect(joined(first, rest)).toMatchObject({ passed: 4, failed: 0, skipped: 1 })
  expect(joined(first, rest).tests).toHaveLength(5)
  expect(onlyTestsOf(first, result(...ALL)).tests.map(({ name }) => name)).toEqual([
    'a hole > reads zero (at once)',
    'a mapping > survives a hole',
  ])
})

test('tests/kernel/reach.json knows no test file that is gone, and nearly all that are there', () => {
  const folder = join(projectRoot, 'tests/kernel')
  const { tests } = parseReach(readFileSync(join(folder, 'reach.json'), 'utf8'))
  const known = new Set([...tests].map((test) => test.split(' > ')[0] ?? ''))
  const files = readdirSync(folder).map((name) => `tests/kernel/${name}`)
  const quick = files.filter((file) => file.endsWith('.test.ts') && !file.endsWith('.slow.test.ts'))
  // Those that need a patch set run nothing on 7.3.
  const unknown = quick.filter((file) => !known.has(file) && !/\/(inplace|no-direct-map|write)/.test(file))

  expect([...known].filter((file) => !files.includes(file))).toEqual([])
  expect(unknown).toEqual([])
})
