// SPDX-License-Identifier: Apache-2.0
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'

/** Bytes that a file or a folder with all below it takes on disk. Files that go meanwhile count as nothing. */
export async function folderBytes(path: string): Promise<number> {
  const stats = await lstat(path).catch(() => null)
  if (stats === null) return 0
  let bytes = stats.blocks * 512
  if (!stats.isDirectory()) return bytes
  for (const name of await readdir(path).catch(() => [])) bytes += await folderBytes(join(path, name))
  return bytes
}
