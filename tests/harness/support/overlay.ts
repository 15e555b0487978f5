// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { openBaseline } from '../../../src/kernels/baseline.js'
import { treeDirOf } from '../../../src/kernels/build-tree.js'
import { resolveKernel } from '../../../src/kernels/index.js'
import { acquireLock, type Lock } from '../../../src/kernels/lock.js'
import { cacheRoot } from '../../../src/paths.js'
import { silentProgress } from '../../../src/progress.js'
import type { GmemOptions } from './run-gmem.js'

/**
 * The machine's own cache, with its kernels and the trees they are built in, for gmem to write to without anything of it reaching the
 * cache: an overlay at the same path, in a mount namespace. (A copy elsewhere would be built anew: objtool knows its path.)
 */
export interface OverlaidCache {
  /** What Sandbox.run takes: all runs see what those before them left. */
  readonly options: GmemOptions
  /** Lets others build in the tree again. */
  release(): Promise<void>
}

/**
 * Puts an overlay, whose upper side is below `folder`, on the machine's cache, and keeps others from building in the tree of `kernel`.
 * Returns in words why it cannot be: nothing here is worth a kernel build of minutes.
 */
export async function overlayCache(kernel: string, folder: string): Promise<OverlaidCache | string> {
  const options = overlayOptions(folder)
  const tried = await execa(options.under[0], [...options.under.slice(1), 'true'], { reject: false })
  if (tried.failed) return `needs an overlay in a mount namespace: ${tried.stderr.split('\n', 1)[0]}`
  const tree = await builtTree(kernel)
  if (!tree.startsWith('/')) return tree
  const lock: Lock = await acquireLock(`${tree}.lock`)
  return { options, release: () => lock.release() }
}

/** The tree that the kernel was built in, or in words why there is none. */
async function builtTree(kernel: string): Promise<string> {
  try {
    await resolveKernel(kernel, { build: false })
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  const { source, spec } = await openBaseline(kernel, { progress: silentProgress })
  const tree = treeDirOf(source, spec.flavour)
  return existsSync(tree) ? tree : `the tree in which ${kernel} was built is gone`
}

function overlayOptions(folder: string): GmemOptions & { readonly under: readonly [string, ...string[]] } {
  const [upper, work] = [join(folder, 'upper'), join(folder, 'work')]
  for (const path of [upper, work]) mkdirSync(path, { recursive: true })
  const cache = cacheRoot()
  const mount = `mount -t overlay overlay -o "lowerdir=$0,upperdir=${upper},workdir=${work}" "$0" && exec "$@"`
  return { env: { GMEM_CACHE: cache }, under: ['unshare', '--mount', 'sh', '-c', mount, cache] }
}
