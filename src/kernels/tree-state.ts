// SPDX-License-Identifier: Apache-2.0
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cacheRoot } from '../paths.js'
import type { ConfigReport } from './kconfig.js'
import type { GitState } from './source-tree.js'

/** What is in a build tree; written to state.json beside it. */
export interface TreeState {
  /** False while the tree is being changed or make runs: a tree found so was left by a crash, and is thrown away. */
  clean: boolean
  /** Source files that patches changed: what to put back before other patches are applied. */
  patched: string[]
  /** Hash of the configuration fragments that .config was made from. */
  configuredWith: string | null
  /** How .config differs from the fragments; of the same configuration. */
  configReport?: ConfigReport
  /** What all of the tree was made with (makingOf); absent where a make did not come to its end. */
  madeWith?: string | undefined
  /** How many objects were made in this tree so far, and whether that was all of them once: for the progress line. */
  objects: number
  finished: boolean
  /** For a copy of somebody's tree: size and time of each file when it was copied. */
  copied: Record<string, string>
  /** What git said of that tree then. */
  copiedAt?: GitState | undefined
  /**
   * Whether its objects name the tree `.` and not by its path, so that ccache shares them with other trees. A tree whose objects were made
   * otherwise stays as it is: to change it is to build all of it again.
   */
  readonly isPathFree: boolean
}

/** Where the trees are in which kernels are built. */
export const treesDir = (): string => join(cacheRoot(), 'trees')

export function readTreeState(treeDir: string): TreeState | null {
  try {
    const value: unknown = JSON.parse(readFileSync(join(treeDir, 'state.json'), 'utf8'))
    return isTreeState(value) ? { ...value, isPathFree: value.isPathFree === true } : null
  } catch {
    return null
  }
}

export function writeTreeState(treeDir: string, state: TreeState): void {
  const file = join(treeDir, 'state.json')
  writeFileSync(`${file}.new`, JSON.stringify(state))
  renameSync(`${file}.new`, file)
}

export function emptyTreeState(): TreeState {
  return {
    clean: false,
    patched: [],
    configuredWith: null,
    objects: 0,
    finished: false,
    copied: {},
    isPathFree: true,
  }
}

function isTreeState(value: unknown): value is TreeState {
  if (typeof value !== 'object' || value === null) return false
  const { clean, patched, copied } = value as Partial<Record<keyof TreeState, unknown>>
  return typeof clean === 'boolean' && Array.isArray(patched) && typeof copied === 'object' && copied !== null
}
