// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { GmemError, usageError } from '../errors.js'
import { projectRoot } from '../paths.js'

const patchesDir = join(projectRoot, 'vm-images', 'patches')

export interface Patch {
  /** `inplace-conversion/0001-kvm-….patch`, for messages. */
  readonly name: string
  readonly file: string
  readonly text: string
  /** Paths in the source tree that it reads or writes. */
  readonly touches: readonly string[]
}

/** The patch sets that are there: the folders of vm-images/patches with a *.patch in them. */
export function listPatchSets(): string[] {
  if (!existsSync(patchesDir)) return []
  return readdirSync(patchesDir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && patchFiles(entry.name).length > 0)
    .map((entry) => entry.name)
    .sort()
}

/** The patches of the named sets, in the order in which they apply. */
export function readPatches(sets: readonly string[]): Patch[] {
  return sets.flatMap((set) => {
    const files = patchFiles(set)
    if (files.length === 0) throw usageError(`the patch set "${set}" holds no *.patch`)
    return files.map((name) => {
      const file = join(patchesDir, set, name)
      const text = readFileSync(file, 'utf8')
      return { name: `${set}/${name}`, file, text, touches: touchedPaths(text, file) }
    })
  })
}

function patchFiles(set: string): string[] {
  return readdirSync(join(patchesDir, set))
    .filter((name) => name.endsWith('.patch'))
    .sort()
}

/** Which files a unified diff concerns. Hunks are skipped by their line counts: a removed `-- x` reads `--- x`. */
export function touchedPaths(patch: string, origin = 'the patch'): string[] {
  const paths = new Set<string>()
  let old = 0
  let fresh = 0
  for (const line of patch.split('\n')) {
    if (old > 0 || fresh > 0) {
      if (line.startsWith('-')) old--
      else if (line.startsWith('+')) fresh--
      else if (!line.startsWith('\\')) {
        old--
        fresh--
      }
      continue
    }
    const hunk = /^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@/.exec(line)
    if (hunk) {
      old = Number(hunk[1] ?? 1)
      fresh = Number(hunk[2] ?? 1)
      continue
    }
    const named = /^(?:--- a\/|\+\+\+ b\/|rename from |rename to )([^\t]+)/.exec(line)
    if (named?.[1] !== undefined) paths.add(checkInside(named[1].trimEnd(), origin))
  }
  return [...paths]
}

function checkInside(path: string, origin: string): string {
  if (!path.startsWith('/') && !path.split('/').includes('..')) return path
  throw new GmemError(`${origin} names a file outside of the source tree: ${path}`, { exitCode: 125 })
}
