// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { usageError } from '../errors.js'
import { projectRoot } from '../paths.js'

/** Where the contract is, relative to the project root. */
export const TEST_FOLDER = 'tests/kernel'
/** Files that take long; they run with --all only. */
export const SLOW_FILE = '.slow.test.ts'

/** Throws a usage error for a filter that names no file, before anything starts. Returns how many slow files are left out. */
export function checkFilters({
  filters,
  all,
}: {
  readonly filters: readonly string[]
  readonly all: boolean
}): number {
  const files = testFiles()
  const matches = (filter: string): string[] => filesMatching(filter, files)
  for (const filter of filters) {
    const matching = matches(filter)
    if (matching.some((file) => all || !file.endsWith(SLOW_FILE))) continue
    if (matching.length > 0)
      throw usageError(`"${filter}" matches slow test files only`, 'Add --all to run them.')
    const names = files.map((file) => relative(TEST_FOLDER, file).replace(/\.test\.ts$/, ''))
    throw usageError(`no test file matches "${filter}"`, `There are: ${names.sort().join(', ')}.`)
  }
  const wanted = new Set(filters.length === 0 ? files : filters.flatMap(matches))
  return all ? 0 : [...wanted].filter((file) => file.endsWith(SLOW_FILE)).length
}

/** The files that a filter of `gmem test` names, by vitest's own rule: a part of the path, in any case of letters. */
export function filesMatching(filter: string, files: readonly string[] = testFiles()): string[] {
  const wanted = filter.startsWith('/') ? relative(projectRoot, filter) : filter
  return files.filter((file) => file.toLowerCase().includes(wanted.toLowerCase()))
}

function testFiles(): string[] {
  return readdirSync(join(projectRoot, TEST_FOLDER), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(TEST_FOLDER, name))
}
