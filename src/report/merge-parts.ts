// SPDX-License-Identifier: Apache-2.0
import { realpathSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { usageError } from '../errors.js'
import type { RunResult } from './schema.js'
import { readResultFile, resultFileAt } from './stored-result.js'

/** What merging must know of the environment.json that a run leaves beside its result; the rest of it is kept as it is. */
const environmentSchema = z.looseObject({
  gmem: z.looseObject({ commit: z.string().nullable() }),
  request: z.record(z.string(), z.unknown()),
  kernels: z.array(z.looseObject({ id: z.string(), key: z.string() })),
})

export type StoredEnvironment = z.infer<typeof environmentSchema>

/** One of the results that are merged. */
export interface MergePart {
  /** As the command line names it. */
  readonly given: string
  /** Where its result, its consoles and its environment are: no symbolic link. */
  readonly folder: string
  readonly run: RunResult
  readonly environment: StoredEnvironment
}

/** Reads the folder that `gmem test -o` wrote, or the result.json in it. Throws a usage error that names what cannot be read. */
export async function readPart(given: string): Promise<MergePart> {
  const file = resultFileAt(given)
  if (file === null) {
    throw usageError(
      `there is no result in ${given}`,
      'A result is the folder that gmem test -o wrote, or the result.json in it.',
    )
  }
  const run = await readResultFile(file)
  return { given, folder: realpathSync(dirname(file)), run, environment: await readEnvironment(file) }
}

async function readEnvironment(resultFile: string): Promise<StoredEnvironment> {
  const file = join(dirname(resultFile), 'environment.json')
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw usageError(
      `${file}, which says what was asked for, cannot be read: ${error.code}`,
      'Give the whole folder that gmem test -o wrote.',
    )
  })
  try {
    return environmentSchema.parse(JSON.parse(text))
  } catch {
    throw usageError(`${file} was not written by gmem test`)
  }
}
