// SPDX-License-Identifier: Apache-2.0
import { openSync, readSync, writeSync } from 'node:fs'

/** More than /proc/zoneinfo of a machine with two nodes. */
const TEXT = Buffer.alloc(64 * 1024)
const files = new Map<string, number | null>()

/** A file of /proc as it reads now; '' where there is none. Stays open, for opening costs most of it: no file that goes with a module. */
export function readKept(path: string): string {
  const file = fileAt(path, 'r')
  return file === null ? '' : TEXT.toString('latin1', 0, readSync(file, TEXT, 0, TEXT.length, 0))
}

/** Writes into a file of /proc, and keeps it open. Nothing happens where there is none. */
export function writeKept(path: string, value: string): void {
  const file = fileAt(path, 'w')
  if (file !== null) writeSync(file, value, 0)
}

function fileAt(path: string, flags: 'r' | 'w'): number | null {
  const known = files.get(path)
  if (known !== undefined) return known
  let file: number | null = null
  try {
    file = openSync(path, flags)
  } catch {
    // Not every kernel has it.
  }
  files.set(path, file)
  return file
}
