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
  for (const filter of filters) {
    const matching = filesMatching(filter, files)
    if (matching.some((file) => all || !file.endsWith(SLOW_FILE))) continue
    if (matching.length > 0)
      throw usageError(`"${filter}" matches slow test files only`, 'Add --all to run them.')
    const names = files.map((file) => relative(TEST_FOLDER, file).replace(/\.test\.ts$/, ''))
    throw usageError(`no test file matches "${filter}"`, `There are: ${names.sort().join(', ')}.`)
  }
  return all ? 0 : filesOf(filters, files).filter((file) => file.endsWith(SLOW_FILE)).length
}

/** The files that filters of `gmem test` name, each once; all where there is no filter. */
export function filesOf(
  filters: readonly string[],
  files: readonly string[] = testFiles(),
): readonly string[] {
  if (filters.length === 0) return files
  return [...new Set(filters.flatMap((filter) => filesMatching(filter, files)))]
}

/** Those of them that a run has. */
export function filesToRun(filters: readonly string[], withSlow: boolean): string[] {
  return filesOf(filters).filter((file) => withSlow || !file.endsWith(SLOW_FILE))
}

/** The files that a filter of `gmem test` names, by vitest's own rule: a part of the path, in any case of letters. */
function filesMatching(filter: string, files: readonly string[]): string[] {
  const wanted = filter.startsWith('/') ? relative(projectRoot, filter) : filter
  return files.filter((file) => file.toLowerCase().includes(wanted.toLowerCase()))
}

function testFiles(): string[] {
  return readdirSync(join(projectRoot, TEST_FOLDER), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(TEST_FOLDER, name))
}
