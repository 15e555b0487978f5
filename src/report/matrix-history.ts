// SPDX-License-Identifier: Apache-2.0
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheRoot } from '../paths.js'
import type { MatrixResult } from './matrix.js'

/** Runs that are kept, of all matrices together; a run takes some 10 kB for each cell. */
const KEPT_MAX = 100
/** Runs that a trend shows. */
const SHOWN_MAX = 20
/** `2026-11-21T08-52-11.123Z-4711.json`: sorts by time, and two runs at once differ by their pid. */
const NAME = /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z-\d+\.json$/

/** Keeps a run for the trends of later ones, and removes the oldest. */
export async function keepInHistory(result: MatrixResult): Promise<void> {
  const folder = historyFolder()
  await mkdir(folder, { recursive: true })
  const name = `${result.startedAt.replaceAll(':', '-')}-${process.pid}.json`
  const partial = join(folder, `.${name}.partial`)
  await writeFile(partial, JSON.stringify(result))
  await rename(partial, join(folder, name))
  const old = (await namesIn(folder)).slice(0, -KEPT_MAX)
  await Promise.all(old.map((other) => rm(join(folder, other), { force: true })))
}

/** Earlier runs of the same tests, whatever the configuration: the oldest first. */
export async function earlierRuns(result: MatrixResult): Promise<MatrixResult[]> {
  const folder = historyFolder()
  const wanted = JSON.stringify(result.selection)
  const runs: MatrixResult[] = []
  for (const name of (await namesIn(folder)).reverse()) {
    const run = await readRun(join(folder, name))
    if (run === null || run.startedAt >= result.startedAt) continue
    if (JSON.stringify(run.selection) === wanted) runs.unshift(run)
    if (runs.length === SHOWN_MAX) break
  }
  return runs
}

function historyFolder(): string {
  return join(cacheRoot(), 'matrix')
}

async function namesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => [])
  return names.filter((name) => NAME.test(name)).sort()
}

/** Null for one of another format, and for what another gmem has just removed. */
async function readRun(file: string): Promise<MatrixResult | null> {
  try {
    const run = JSON.parse(await readFile(file, 'utf8')) as MatrixResult
    return run.format === 1 ? run : null
  } catch {
    return null
  }
}
