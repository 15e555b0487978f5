// SPDX-License-Identifier: Apache-2.0
import { open, readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { consoleEnding } from './console-names.js'
import type { TargetResult } from './schema.js'

const CONSOLES_MAX = 6
const TAIL_BYTES = 16_384
const TAIL_LINES = 60
/** What every VM of ours says; a console with no more than that has nothing to tell. */
const QUIET_LINE = /^(gmem-init: |Warning: disabling flag |\s*$)|Kernel compiled without mitigations/

/** The end of a guest's console. */
export interface ConsoleExcerpt {
  readonly file: string
  /** The test during which the kernel died there; null where it did not. */
  readonly test: string | null
  readonly text: string
}

/** The ends of a target's consoles in the folder of its run: of kernels that died first, then of those that said anything. */
export async function consoleExcerpts(
  folder: string,
  { id, deaths }: TargetResult,
): Promise<ConsoleExcerpt[]> {
  const fatal = deaths.flatMap(({ console: path, test }) => (path === undefined ? [] : [{ path, test }]))
  const names = (await readdir(folder).catch(() => []))
    .filter((name) => consoleEnding(name, id) !== null)
    .sort()
  const others = names.map((name) => ({ path: join(folder, name), test: undefined }))
  const excerpts: ConsoleExcerpt[] = []
  for (const { path, test } of [...fatal, ...others]) {
    const file = basename(path)
    if (excerpts.length === CONSOLES_MAX) break
    if (excerpts.some((other) => other.file === file)) continue
    const text = await tailOf(path)
    if (test === undefined && text.split('\n').every((line) => QUIET_LINE.test(line))) continue
    excerpts.push({ file, test: test ?? null, text })
  }
  return excerpts
}

async function tailOf(path: string): Promise<string> {
  const file = await open(path).catch(() => null)
  if (file === null) return '(it cannot be read)'
  try {
    const { size } = await file.stat()
    const length = Math.min(size, TAIL_BYTES)
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length)
    return buffer.toString('utf8').replaceAll('\r', '').trimEnd().split('\n').slice(-TAIL_LINES).join('\n')
  } finally {
    await file.close()
  }
}
