// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs'
import { copyFile, mkdir, rename, rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { GmemError } from '../errors.js'
import type { Progress } from '../progress.js'
import { openTree, treeDirOf } from './build-tree.js'
import { acquireLock } from './lock.js'
import { make } from './make.js'
import { findBase } from './resolve.js'
import { parseKernelSpec } from './spec.js'
import { findToolchain } from './toolchain.js'
import type { KernelImage } from './types.js'

/** The kernel's own tests of guest_memfd, below tools/testing/selftests/kvm. */
export const GUEST_MEMFD_SELFTESTS = [
  'guest_memfd_test',
  'set_memory_region_test',
  'pre_fault_memory_test',
  'x86/private_mem_conversions_test',
  'x86/private_mem_kvm_exits_test',
] as const

/**
 * Builds the kernel's own guest_memfd selftests from the tree in which the kernel was built, as static programs. Returns their folder, which
 * is kept beside the kernel. Throws GmemError: 125 where they do not build, 69 where the tree is gone.
 */
export async function buildSelftests(
  specText: string,
  kernel: KernelImage,
  options: { readonly progress: Progress; readonly signal?: AbortSignal | undefined },
): Promise<string> {
  const folder = join(dirname(kernel.bzImage), 'selftests')
  if (existsSync(folder)) return folder
  const spec = parseKernelSpec(specText)
  const [toolchain, source] = await Promise.all([
    findToolchain(),
    findBase(spec, { build: true }, { progress: options.progress, signal: options.signal }),
  ])
  if (toolchain === null || source === null)
    throw new GmemError(`the selftests of ${specText} cannot be built: no compiler, or no source`)
  const treeDir = treeDirOf(source, spec.flavour)
  const lock = await acquireLock(`${treeDir}.lock`, { signal: options.signal })
  const draft = `${folder}.${process.pid}.partial`
  try {
    const tree = openTree(treeDir)
    if (tree === null)
      throw new GmemError(`${treeDir}, in which ${kernel.id} was built, is gone`, {
        hint: `gmem kernel rm ${kernel.id}, then this again: the kernel is built anew.`,
      })
    options.progress.phase(`building the selftests of ${kernel.id}`)
    await mkdir(draft, { recursive: true })
    const out = join(draft, 'build')
    await mkdir(out)
    const settings = {
      src: tree.src,
      toolchain,
      jobs: availableParallelism(),
      log: join(draft, 'build.log'),
      what: `the selftests of ${kernel.id}`,
      signal: options.signal,
    }
    await make(['headers'], settings)
    await make(
      [
        '-C',
        'tools/testing/selftests/kvm',
        `OUTPUT=${out}`,
        `KHDR_INCLUDES=-isystem ${join(tree.src, 'usr/include')}`,
        'LDFLAGS=-static',
        ...GUEST_MEMFD_SELFTESTS.map((name) => join(out, name)),
      ],
      settings,
    )
    for (const name of GUEST_MEMFD_SELFTESTS) await copyFile(join(out, name), join(draft, basename(name)))
    await rm(out, { recursive: true })
    await rename(draft, folder)
    return folder
  } finally {
    options.progress.end()
    await rm(draft, { recursive: true, force: true })
    await lock.release()
  }
}
