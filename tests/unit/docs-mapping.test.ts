// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { titlesOf } from './docs-titles.js'

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

/** How many assertions of each selftest the inventory numbers, and how many documented promises. */
const LAST_ID = { GM: 89, SM: 31, PC: 23, PX: 13, PF: 10, VT: 2, MS: 5, OT: 4, LB: 15, D: 83 }
/** IDs that gmem could have a test for, and has none. It only goes down. */
const NOT_YET = 0
const REASONS = /^(not yet|hardware|not guest_memfd|helper): \S/

/** One row of the document. */
interface Row {
  readonly ids: readonly string[]
  /** Tests, or the one reason why there is none. */
  readonly entries: readonly string[]
}

const rows = readFileSync(path('../../docs/selftests-mapping.md'), 'utf8').split('\n').flatMap(rowOf)

describe('docs/selftests-mapping.md', () => {
  it('has a row for each ID of the inventory, and for no other', () => {
    const wanted = Object.entries(LAST_ID).flatMap(([prefix, last]) => idsOf(prefix, 1, last))

    expect(rows.flatMap(({ ids }) => ids).sort()).toEqual(wanted.sort())
  })

  it('names tests that exist, or says why there is none', () => {
    const titles = titlesOf(path('../kernel'))
    const isTest = (entry: string) => {
      const [file = '', ...title] = entry.split(': ')
      return titles.get(`${file}.test.ts`)?.has(title.join(': ')) === true
    }
    const isReason = ({ entries: [entry = '', ...others] }: Row) => others.length === 0 && REASONS.test(entry)

    const unknown = rows
      .filter((row) => !isReason(row))
      .flatMap(({ entries }) => entries.filter((e) => !isTest(e)))

    expect(unknown).toEqual([])
  })

  it('counts what has no test yet', () => {
    const missing = rows.filter(({ entries }) => entries[0]?.startsWith('not yet') === true)

    expect(missing.flatMap(({ ids }) => ids)).toHaveLength(NOT_YET)
  })
})

/** The row that a line is; none for other lines. */
function rowOf(line: string): Row[] {
  const [, ids, entries] = /^\| ((?:[A-Z]+-?\d+.*?)) \| (.*) \|$/.exec(line) ?? []
  if (ids === undefined || entries === undefined) return []
  return [{ ids: ids.split(', ').flatMap(expand), entries: entries.split('<br>') }]
}

/** `GM-03..GM-05` as its IDs; a single ID as itself. */
function expand(range: string): string[] {
  const [, prefix = '', first, last] = /^([A-Z]+)-?(\d+)(?:\.\.[A-Z]+-?(\d+))?$/.exec(range) ?? []
  return idsOf(prefix, Number(first), Number(last ?? first))
}

/** IDs as the inventory writes them: `GM-03`, `D03`. */
function idsOf(prefix: string, first: number, last: number): string[] {
  const separator = prefix === 'D' ? '' : '-'
  const numbers = Array.from({ length: last - first + 1 }, (_, index) => first + index)
  return numbers.map((number) => `${prefix}${separator}${String(number).padStart(2, '0')}`)
}
