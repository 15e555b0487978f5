// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cacheRoot } from '../paths.js'
import { run } from './run.js'

/** Bytes on disk of what the cache keeps for kernels. */
export type DiskUse = Readonly<
  Record<'kernels' | 'build trees' | 'sources' | 'compiler cache' | 'saved VMs', number>
>

const folders = {
  kernels: 'kernels',
  'build trees': 'trees',
  sources: 'sources',
  'compiler cache': 'ccache',
  'saved VMs': 'saved',
} as const

/** Measures it with du, which takes a second or two where the trees are not in memory. */
export async function diskUse(signal?: AbortSignal): Promise<DiskUse> {
  const use = { kernels: 0, 'build trees': 0, sources: 0, 'compiler cache': 0, 'saved VMs': 0 }
  for (const [name, folder] of Object.entries(folders) as [keyof DiskUse, string][]) {
    const path = join(cacheRoot(), folder)
    if (!existsSync(path)) continue
    // A build that runs removes files under du's eyes, which is no failure.
    const printed = await run('du', ['--summarize', '--block-size=1', path], { alsoFine: 1, signal })
    use[name] = Number.parseInt(printed, 10) || 0
  }
  return use
}
