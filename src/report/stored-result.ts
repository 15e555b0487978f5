// SPDX-License-Identifier: Apache-2.0
import { existsSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { usageError } from '../errors.js'
import { type RunResult, runSchema } from './schema.js'

/** The result.json in a run's folder, or the .json file itself; null where the path is neither. */
export function resultFileAt(path: string): string | null {
  const absolute = resolve(path)
  if (!existsSync(absolute)) return null
  if (!statSync(absolute).isDirectory()) return absolute.endsWith('.json') ? absolute : null
  const inside = join(absolute, 'result.json')
  return existsSync(inside) ? inside : null
}

/** Reads a result, and checks it against the schema. Throws a usage error that names the file. */
export async function readResultFile(file: string): Promise<RunResult> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw usageError(`no finished run to read in ${file}: ${error.code}`, 'Run gmem test first.')
  })
  try {
    return runSchema.parse(JSON.parse(text))
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n').slice(0, 6).join(' ') : String(error)
    throw usageError(`${file} is no result of gmem test: ${reason}`)
  }
}
