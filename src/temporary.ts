// SPDX-License-Identifier: Apache-2.0
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isAlive } from './processes.js'

/** A folder that lasts as long as its owner wants. */
export interface TemporaryFolder {
  readonly path: string
  remove(): Promise<void>
}

/** What createTemporaryFolder makes; the last part is mkdtemp's. */
const OWN_NAME = /^gmem-(\d+)-[\w-]+-\w{6}$/

/**
 * A new folder below the system's temporary one, named after this process, so that a leftover can be told from a live one: what
 * processes left that were killed goes now.
 */
export async function createTemporaryFolder(purpose: string): Promise<TemporaryFolder> {
  await removeLeftovers(tmpdir())
  const path = await mkdtemp(join(tmpdir(), `gmem-${process.pid}-${purpose}-`))
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}

async function removeLeftovers(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => [])
  const leftovers = names.filter((name) => {
    const pid = OWN_NAME.exec(name)?.[1]
    return pid !== undefined && !isAlive(Number(pid))
  })
  // Another user's cannot be removed, and is that user's concern.
  await Promise.all(
    leftovers.map((name) => rm(join(folder, name), { recursive: true, force: true }).catch(() => {})),
  )
}
