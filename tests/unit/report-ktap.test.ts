// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { cacheRoot } from '../../src/paths.js'
import { ktap } from '../../src/report/ktap.js'
import { exampleRun } from './report-example.js'

describe('KTAP', () => {
  test('has a version line and a plan before the results of every level', () => {
    const lines = ktap(exampleRun()).split('\n')

    expect(lines.slice(0, 7)).toEqual([
      'KTAP version 1',
      '1..2',
      '  KTAP version 1',
      '  # Subtest: 7.3',
      '  1..1',
      '    KTAP version 1',
      '    # Subtest: conversion.test.ts',
    ])
  })

  test('gives the reason of a skip, a timeout and a known issue as a directive', () => {
    const text = ktap(exampleRun())

    expect(text).toContain('# SKIP needs VM type SNP: KVM_CAP_VM_TYPES reports only DEFAULT, SW_PROTECTED\n')
    expect(text).toContain('# TIMEOUT the guest hung: no sign of life for 20.0 s\n')
    expect(text).toContain('# XFAIL F1: SIGKILL waits for the whole range\n')
  })

  test('keeps names free of what the format reserves: no # and no leading dash', () => {
    const text = ktap(exampleRun())

    expect(text).toContain('not ok 2 vcpu 2 gets a PF & keeps "going" <on>\n')
  })

  test('lets no line of a log pass for a subtest header', () => {
    const headers = ktap(exampleRun()).match(/# Subtest: .*/g)

    expect(headers).toEqual([
      '# Subtest: 7.3',
      '# Subtest: conversion.test.ts',
      '# Subtest: host',
      '# Subtest: fd.test.ts',
    ])
  })

  test('shows what went wrong outside of any test as a failed test', () => {
    const error = { name: 'InfrastructureError', message: 'qemu-system-x86_64 is not installed' }

    const text = ktap({ ...exampleRun(), errors: [{ kind: 'infrastructure', error }] })

    expect(text).toContain('\nnot ok 3 gmem infrastructure # ERROR qemu-system-x86_64 is not installed\n')
  })

  test("is read by the kernel's own kunit.py as what it says", (context) => {
    const parser = findKunit()
    if (parser === null) {
      return context.skip(
        'no kernel source with tools/testing/kunit: `gmem kernel build`, or set GMEM_KERNEL_TREE',
      )
    }
    const folder = mkdtempSync(join(tmpdir(), 'gmem-ktap-'))
    try {
      const json = join(folder, 'kunit.json')

      const { status, stdout } = spawnSync('python3', [parser, 'parse', `--json=${json}`], {
        input: ktap(exampleRun()),
        encoding: 'utf8',
      })

      expect(stdout).toContain('Ran 8 tests: passed: 4, failed: 3, skipped: 1')
      expect(stdout).not.toMatch(/ERROR|crashed/i)
      expect(status).toBe(1)
      const parsed = JSON.parse(readFileSync(json, 'utf8'))
      expect(parsed.sub_groups.map((group: { name: string }) => group.name)).toEqual(['7.3', 'host'])
      expect(caseNames(parsed)).toContain('at 4K > an even page')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

interface KunitGroup {
  readonly sub_groups: readonly KunitGroup[]
  readonly test_cases: readonly { readonly name: string }[]
}

function caseNames({ sub_groups, test_cases }: KunitGroup): string[] {
  return [...test_cases.map(({ name }) => name), ...sub_groups.flatMap(caseNames)]
}

/** kunit.py of any kernel source that is at hand: one that gmem unpacked, or one that the environment names. */
function findKunit(): string | null {
  const trees = join(cacheRoot(), 'trees')
  const unpacked = existsSync(trees) ? readdirSync(trees).map((name) => join(trees, name, 'src')) : []
  const wanted = process.env.GMEM_KERNEL_TREE
  const parsers = [...(wanted ? [wanted] : []), ...unpacked].map((tree) =>
    join(tree, 'tools/testing/kunit/kunit.py'),
  )
  return parsers.find((file) => existsSync(file)) ?? null
}
