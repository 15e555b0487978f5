// SPDX-License-Identifier: Apache-2.0
import { open, rename, rm, stat, utimes } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type CpioEntry, writeCpio } from './cpio.js'
import { InfrastructureError } from './errors.js'
import { partialName, sweepOldest } from './sweep.js'

const KEPT_MAX = 6

/** A file that goes into an archive. */
interface PackedFile {
  readonly path: string
  readonly mode: number
  readonly read: () => Promise<Buffer>
}

/** Writes an archive of these, where it is not there; those that were not used for longest go. InfrastructureError where it cannot be written. */
export async function ensurePacked(file: string, members: readonly PackedFile[]): Promise<void> {
  const known = await stat(file).catch(() => null)
  if (known) await utimes(file, new Date(), new Date())
  else await write(members, file)
  await sweepOldest(dirname(file), '.cpio', KEPT_MAX)
}

async function write(members: readonly PackedFile[], file: string): Promise<void> {
  const entries: CpioEntry[] = [
    // The kernel opens it as PID 1's stdin, stdout and stderr, before there is a devtmpfs.
    { type: 'char', path: '/dev/console', mode: 0o600, major: 5, minor: 1 },
    ...['/proc', '/sys', '/run', '/root'].map((path) => ({ type: 'directory', path }) as const),
    { type: 'directory', path: '/tmp', mode: 0o1777 },
  ]
  for (const { path, mode, read } of members) entries.push({ type: 'file', path, mode, data: await read() })
  const partial = partialName(file)
  const output = await open(partial, 'w')
  try {
    for (const piece of writeCpio(entries)) await output.write(piece)
    await output.close()
    await rename(partial, file)
  } catch (error) {
    await output.close().catch(() => {})
    await rm(partial, { force: true })
    const code = (error as NodeJS.ErrnoException).code
    const hint =
      code === 'ENOSPC' ? 'no space left on the disk of the cache; set GMEM_CACHE to another' : String(error)
    throw new InfrastructureError(`${file}: the initramfs was not written: ${hint}`, { cause: error })
  }
}
