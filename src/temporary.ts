// SPDX-License-Identifier: Apache-2.0
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A folder that lasts as long as its owner wants. */
export interface TemporaryFolder {
  readonly path: string
  remove(): Promise<void>
}

/** A new folder below the system's temporary one, named after this process, so that a leftover can be told from a live one. */
export async function createTemporaryFolder(purpose: string): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), `gmem-${process.pid}-${purpose}-`))
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}
