// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { partialName } from './sweep.js'

/** What was found out, and whether the next run may rely on it. */
export interface Finding<T> {
  readonly value: T
  readonly keep: boolean
}

/**
 * Something about this host that takes long to find out: from the cache, where it was found out since the
 * host booted, else by `find`. `name` is the question; `depends` is what else the answer depends on.
 */
export async function rememberForHost<T>(
  cacheDir: string,
  name: string,
  depends: string,
  find: () => Promise<Finding<T>>,
): Promise<T> {
  const folder = join(cacheDir, 'host')
  const file = join(folder, `${name}-${await hostKey(depends)}.json`)
  try {
    return JSON.parse(await readFile(file, 'utf8')) as T
  } catch {
    // Not asked yet, or half written by a full disk: ask.
  }
  const { value, keep } = await find()
  if (!keep) return value
  const partial = partialName(file)
  await mkdir(folder, { recursive: true })
  await writeFile(partial, JSON.stringify(value))
  await rename(partial, file)
  return value
}

async function hostKey(depends: string): Promise<string> {
  const read = (name: string): Promise<string> => readFile(`/proc/sys/kernel/${name}`, 'utf8')
  const [release, bootId] = await Promise.all([read('osrelease'), read('random/boot_id')])
  return createHash('sha256').update(`${release}\n${bootId}\n${depends}`).digest('hex').slice(0, 16)
}
