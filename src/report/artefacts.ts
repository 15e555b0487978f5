// SPDX-License-Identifier: Apache-2.0
import { execFile } from 'node:child_process'
import { copyFile, mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { cpus, release, totalmem } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { GmemError } from '../errors.js'
import type { KernelImage } from '../kernels/types.js'
import { cacheRoot, projectRoot } from '../paths.js'
import { findQemu } from '../qemu/binary.js'
import type { RunResult } from './schema.js'

const RUNS_KEPT = 20
/** `2026-11-21T08-52-11.123Z-4711`: sorts by time, and two runs at once differ by their pid. */
const RUN_NAME = /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z-\d+$/

/** Makes the folder of a run, `directory` or a new one in the cache, and points `latest` to it. Returns its absolute path. */
export async function createRunFolder(directory?: string): Promise<string> {
  const runs = join(cacheRoot(), 'runs')
  const stamp = new Date().toISOString().replaceAll(':', '-')
  const folder = directory === undefined ? join(runs, `${stamp}-${process.pid}`) : resolve(directory)
  try {
    await mkdir(folder, { recursive: true })
    await mkdir(runs, { recursive: true })
    await pointLatest(runs, folder)
    await removeOldRuns(runs)
  } catch (error) {
    throw new GmemError(`cannot make the folder for this run's results: ${String(error)}`, {
      hint: 'Free some space, or name another folder with -o DIR or GMEM_CACHE.',
      cause: error,
    })
  }
  return folder
}

/** Writes result.json, the last thing that a run leaves. */
export async function writeResult(folder: string, run: RunResult): Promise<void> {
  await writeFile(join(folder, 'result.json'), resultText(run))
}

export function resultText(run: RunResult): string {
  return `${JSON.stringify(run, null, 2)}\n`
}

/** What a reader of the results must know to get the same: tools, machine, command line, kernels with their configuration. */
export async function writeEnvironment(
  folder: string,
  request: Readonly<Record<string, unknown>>,
  kernels: readonly KernelImage[],
): Promise<void> {
  // Null, too, where QEMU cannot be had: the run itself says so.
  const qemu = kernels.length === 0 ? null : await findQemu().catch(() => null)
  const environment = {
    gmem: { commit: await gitCommit(), root: projectRoot },
    node: process.version,
    qemu: qemu && { path: qemu.path, version: qemu.version },
    host: {
      kernel: release(),
      cpu: cpus()[0]?.model ?? 'unknown',
      cpus: cpus().length,
      memoryBytes: totalmem(),
    },
    cwd: process.cwd(),
    argv: process.argv.slice(2),
    request,
    kernels,
  }
  await writeFile(join(folder, 'environment.json'), `${JSON.stringify(environment, null, 2)}\n`)
  for (const { id, config } of kernels) {
    if (config !== null) await copyFile(config, join(folder, `${fileName(id)}.config`))
  }
}

/** A kernel id as a file name: ids may be paths. */
function fileName(id: string): string {
  return id.replace(/[^\w.+-]+/g, '_')
}

/** Replaced in one step: another gmem that starts at the same moment never sees it missing. */
async function pointLatest(runs: string, folder: string): Promise<void> {
  const temporary = join(runs, `.latest-${process.pid}`)
  await rm(temporary, { force: true })
  await symlink(folder, temporary)
  await rename(temporary, join(runs, 'latest'))
}

async function removeOldRuns(runs: string): Promise<void> {
  const names = (await readdir(runs)).filter((name) => RUN_NAME.test(name)).sort()
  for (const name of names.slice(0, -RUNS_KEPT)) await rm(join(runs, name), { recursive: true, force: true })
}

async function gitCommit(): Promise<string | null> {
  const commit = await firstLine('git', ['-C', projectRoot, 'rev-parse', 'HEAD'])
  if (commit === null) return null
  const changes = await firstLine('git', ['-C', projectRoot, 'status', '--porcelain'])
  return changes ? `${commit}-dirty` : commit
}

/** The first line that a command prints, or null where there is no such command or it fails. */
async function firstLine(command: string, args: readonly string[]): Promise<string | null> {
  try {
    const { stdout } = await promisify(execFile)(command, [...args], { timeout: 5_000 })
    return stdout.split('\n', 1)[0]?.trim() ?? ''
  } catch {
    return null
  }
}
