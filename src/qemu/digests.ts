// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { createReadStream, existsSync } from 'node:fs'
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { partialName } from './sweep.js'

/** A file that was written less than this ago is read again the next time, in ms: a timestamp is up to a tick of 10 ms old. */
const SETTLED_MS = 1_000

/** Larger files are read in pieces, in bytes. */
const SMALL_BYTES_MAX = 1 << 20

interface Remembered {
  readonly size: string
  readonly mtimeNs: string
  readonly ctimeNs: string
  readonly ino: string
  readonly sha256: string
}

/**
 * SHA-256 of files. Node alone is 100 MB, the rest 400 small files, and every run asks: digests are remembered with the file's size,
 * times and inode in a small JSON file. Whoever writes into a file changes its ctime, which nobody can set.
 */
export class FileDigests {
  readonly #memory: Map<string, Remembered>
  #changed = false

  private constructor(
    readonly file: string,
    memory: Map<string, Remembered>,
  ) {
    this.#memory = memory
  }

  /** Opens the memory in `file`; a missing or broken one starts empty. */
  static async open(file: string): Promise<FileDigests> {
    try {
      const parsed = JSON.parse(await readFile(file, 'utf8')) as Record<string, Remembered>
      return new FileDigests(file, new Map(Object.entries(parsed)))
    } catch {
      return new FileDigests(file, new Map())
    }
  }

  /** The digest of a file's contents, in hex, and the file's mode. */
  async digest(path: string): Promise<{ digest: string; mode: number }> {
    const now = await stat(path, { bigint: true })
    const mode = Number(now.mode)
    const look = {
      size: String(now.size),
      mtimeNs: String(now.mtimeNs),
      ctimeNs: String(now.ctimeNs),
      ino: String(now.ino),
    }
    const known = this.#memory.get(path)
    const isSame =
      known?.size === look.size &&
      known.mtimeNs === look.mtimeNs &&
      known.ctimeNs === look.ctimeNs &&
      known.ino === look.ino
    if (known && isSame) return { digest: known.sha256, mode }
    const sha256 = now.size > SMALL_BYTES_MAX ? await hashStream(path) : hashOf(await readFile(path))
    // The clock of a file system is coarse: what was written a moment ago may be written again and look the same.
    if (Date.now() - Number(now.ctimeMs) > SETTLED_MS) {
      this.#memory.set(path, { ...look, sha256 })
      this.#changed = true
    }
    return { digest: sha256, mode }
  }

  /** Writes what was learnt, and forgets files that are gone. */
  async close(): Promise<void> {
    if (!this.#changed) return
    for (const path of this.#memory.keys()) if (!existsSync(path)) this.#memory.delete(path)
    const partial = partialName(this.file)
    await mkdir(dirname(this.file), { recursive: true })
    await writeFile(partial, JSON.stringify(Object.fromEntries(this.#memory)))
    await rename(partial, this.file)
  }
}

/** SHA-256, hex. */
export function hashOf(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex')
}

async function hashStream(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: SMALL_BYTES_MAX }))
    hash.update(chunk as Buffer)
  return hash.digest('hex')
}
