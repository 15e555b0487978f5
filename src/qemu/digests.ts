// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { partialName } from './sweep.js'

/** Files below this size are read each time; above it, a file that looks the same keeps its digest. */
const REMEMBERED_BYTES_MIN = 64 * 1024

interface Remembered {
  readonly size: string
  readonly mtimeNs: string
  readonly ctimeNs: string
  readonly ino: string
  readonly sha256: string
}

/**
 * SHA-256 of files. Node alone is 100 MB, and every run asks: digests of large files are remembered with the
 * file's size, times and inode in a small JSON file.
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

  /** The digest of a file's contents, in hex. */
  async digest(path: string): Promise<string> {
    const now = await stat(path, { bigint: true })
    if (now.size < REMEMBERED_BYTES_MIN)
      return createHash('sha256')
        .update(await readFile(path))
        .digest('hex')
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
    if (known && isSame) return known.sha256
    const sha256 = await hashStream(path)
    this.#memory.set(path, { ...look, sha256 })
    this.#changed = true
    return sha256
  }

  /** Writes what was learnt. */
  async close(): Promise<void> {
    if (!this.#changed) return
    const partial = partialName(this.file)
    await mkdir(dirname(this.file), { recursive: true })
    await writeFile(partial, JSON.stringify(Object.fromEntries(this.#memory)))
    await rename(partial, this.file)
  }
}

async function hashStream(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
