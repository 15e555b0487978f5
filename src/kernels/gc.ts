// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheRoot } from '../paths.js'
import { kernelsDir, listKernels, removeEntry } from './cache.js'
import { folderBytes } from './folder.js'
import { acquireLock } from './lock.js'
import { treesDir } from './tree-state.js'

export interface GcResult {
  /** Absolute paths of what went. */
  readonly removed: readonly string[]
  readonly freedBytes: number
  /** What is left of all that gc looks after. */
  readonly keptBytes: number
}

export interface GcOptions {
  readonly maxBytes: number
  /** Remove nothing, only say what would go. */
  readonly dryRun?: boolean
}

interface Candidate {
  readonly path: string
  readonly bytes: number
  /** Removes it, or only tries to, unless it is in use: then false. */
  readonly remove: () => Promise<boolean>
}

/**
 * Removes what takes most and is made again most easily, until at most `maxBytes` are left: build trees first, then
 * the packages they came from, then built kernels, each the longest unused first. A tree in which a build runs stays.
 */
export async function gcKernels(options: GcOptions): Promise<GcResult> {
  const isTry = options.dryRun === true
  const candidates = [...(await trees(isTry)), ...(await packages(isTry)), ...(await kernels(isTry))]
  let keptBytes = candidates.reduce((sum, { bytes }) => sum + bytes, 0)
  const removed: string[] = []
  let freedBytes = 0
  for (const candidate of candidates) {
    if (keptBytes <= options.maxBytes) break
    if (!(await candidate.remove())) continue
    removed.push(candidate.path)
    freedBytes += candidate.bytes
    keptBytes -= candidate.bytes
  }
  return { removed, freedBytes, keptBytes }
}

async function trees(isTry: boolean): Promise<Candidate[]> {
  const dirs = oldestFirst(treesDir(), (name) => !name.endsWith('.lock'))
  return measured(dirs, async (path) => {
    const lock = await acquireLock(`${path}.lock`, { wait: false })
    if (lock === null) return false
    if (!isTry) await rm(path, { recursive: true, force: true })
    await lock.release()
    return true
  })
}

async function packages(isTry: boolean): Promise<Candidate[]> {
  return measured(
    oldestFirst(join(cacheRoot(), 'sources'), (name) => name.endsWith('.deb')),
    removeAlways(isTry, (path) => rm(path, { force: true })),
  )
}

async function kernels(isTry: boolean): Promise<Candidate[]> {
  const whole = listKernels().map(({ path }) => path)
  const damaged = oldestFirst(kernelsDir(), (name) => !name.startsWith('.new-')).filter(
    (path) => !whole.includes(path),
  )
  return measured([...damaged, ...whole.reverse()], removeAlways(isTry, removeEntry))
}

function removeAlways(
  isTry: boolean,
  remove: (path: string) => Promise<void>,
): (path: string) => Promise<boolean> {
  return async (path) => {
    if (!isTry) await remove(path)
    return true
  }
}

async function measured(
  paths: readonly string[],
  remove: (path: string) => Promise<boolean>,
): Promise<Candidate[]> {
  const candidates: Candidate[] = []
  for (const path of paths)
    candidates.push({ path, bytes: await folderBytes(path), remove: () => remove(path) })
  return candidates
}

function oldestFirst(dir: string, wanted: (name: string) => boolean): string[] {
  if (!existsSync(dir)) return []
  return readdirSync(dir)
    .filter(wanted)
    .map((name) => join(dir, name))
    .sort((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs)
}
