// SPDX-License-Identifier: Apache-2.0
import { randomUUID } from 'node:crypto'
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isAlive } from '../processes.js'

const DAY_MS = 24 * 60 * 60 * 1000

/**
 * Bounds a cache folder: deletes all but the `keep` most recently used entries whose names end in `suffix`,
 * those unused for `days`, and what dead processes left half written.
 */
export async function sweepOldest(
  folder: string,
  suffix: string,
  keep: number,
  days = Infinity,
): Promise<void> {
  const names = await readdir(folder).catch(() => [])
  const candidates = names.filter((name) => name.endsWith(suffix) && !name.endsWith('.partial'))
  const entries = await Promise.all(
    candidates.map(async (name) => ({
      name,
      usedMs: (await stat(join(folder, name)).catch(() => null))?.mtimeMs ?? 0,
    })),
  )
  const doomed = [...names.filter(isLeftover), ...selectOld(entries, keep, Date.now() - days * DAY_MS)]
  await Promise.all(doomed.map((name) => rm(join(folder, name), { recursive: true, force: true })))
}

/** The names to delete: all but the `keep` youngest, and all that were last used before `oldestMs`. */
export function selectOld(
  entries: readonly { readonly name: string; readonly usedMs: number }[],
  keep: number,
  oldestMs: number,
): string[] {
  const youngestFirst = [...entries].sort((a, b) => b.usedMs - a.usedMs)
  return youngestFirst
    .filter(({ usedMs }, index) => index >= keep || usedMs < oldestMs)
    .map(({ name }) => name)
}

/**
 * The name of a file while it is written, before it is renamed. Two kernels of one process can want the same file at once, so the process
 * alone does not tell them apart.
 */
export function partialName(file: string): string {
  return `${file}.${randomUUID()}.${process.pid}.partial`
}

/** Whether a name is `….PID.partial` of a process that is gone: it was killed while it wrote. */
export function isLeftover(name: string): boolean {
  const pid = /\.(\d+)\.partial$/.exec(name)?.[1]
  return pid !== undefined && !isAlive(Number(pid))
}
