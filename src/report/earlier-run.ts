// SPDX-License-Identifier: Apache-2.0
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { ExitCode, GmemError } from '../errors.js'
import { cacheRoot } from '../paths.js'
import type { RunResult } from './schema.js'
import { readResultFile } from './stored-result.js'

/** A run that is over, as it is read back. */
export interface EarlierRun {
  readonly folder: string
  /** What it was asked for, as plain data. */
  readonly request: Readonly<Record<string, unknown>>
  readonly run: RunResult
}

/** The request and the result of the latest run, or of the run in `folder`. Throws a usage error where they are not to be read. */
export async function readRun(folder?: string): Promise<EarlierRun> {
  const from = folder === undefined ? join(cacheRoot(), 'runs', 'latest') : resolve(folder)
  const run = await readResultFile(join(from, 'result.json'))
  try {
    const environment = JSON.parse(await readFile(join(from, 'environment.json'), 'utf8')) as Pick<
      EarlierRun,
      'request'
    >
    return { folder: from, request: environment.request, run }
  } catch (error) {
    throw new GmemError(`${from} does not say what was run: its environment.json is missing or broken`, {
      exitCode: ExitCode.usage,
      hint: 'Run gmem test again.',
      cause: error,
    })
  }
}
