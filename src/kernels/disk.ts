// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { GmemError } from '../errors.js'

const MiB = 1024 ** 2
const GiB = 1024 ** 3
const hint = 'Free some space, run `gmem kernel gc`, or point GMEM_CACHE to a folder on a larger device.'

/** Bytes that an ordinary user may still write to the device of this path, which need not exist yet. */
export async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(existingParent(path))
  return bavail * bsize
}

/** Throws a GmemError with exit code 69 where the device of this path has less than `bytes` left. */
export async function requireFreeSpace(path: string, bytes: number, purpose: string): Promise<void> {
  const free = await freeBytes(path)
  if (free >= bytes) return
  throw new GmemError(
    `not enough disk space: ${purpose} needs ${inWords(bytes)} in ${path}, where ${inWords(free)} are free`,
    { hint },
  )
}

/** The device filled up on the way. */
export class NoSpaceError extends GmemError {
  constructor(path: string, cause?: unknown) {
    super(`the disk filled up while building in ${existingParent(path)}`, { hint, cause })
  }
}

/** The error itself, or a NoSpaceError where it says ENOSPC. */
export function asNoSpace(error: unknown, path: string): unknown {
  return (error as NodeJS.ErrnoException).code === 'ENOSPC' ? new NoSpaceError(path, error) : error
}

function inWords(bytes: number): string {
  return bytes < GiB ? `${Math.floor(bytes / MiB)} MiB` : `${(bytes / GiB).toFixed(1)} GiB`
}

function existingParent(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : existingParent(dirname(path))
}
