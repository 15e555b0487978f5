// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path'
import type { TestModule } from '../kernels/index.js'
import type { KernelImage } from '../kernels/types.js'
import { cacheRoot, projectRoot } from '../paths.js'
import { buildInitramfs, type Initramfs } from '../qemu/initramfs.js'
import { TEST_MODULES_LIST } from '../testing/module-list.js'

/** Parts of dist/ that run in the guest; the rest stays on the host. */
const GUEST_PARTS = [
  'abi',
  'binding',
  'channel',
  'kvm',
  'pool/conversion-bench.js',
  'pool/population-bench.js',
  'pool/guest',
  'pool/protocol.js',
  'splats',
  'testing',
  'units.js',
]

/**
 * Under emulation code that runs a few times costs less interpreted than compiled and translated again, and a thread that wakes
 * another one on the same processor less than across two: the four files that were tried take a third less time than with neither.
 */
const EMULATED_NODE = [
  '--jitless',
  // Its helpers would run on the same processor.
  '--single-threaded-gc',
]

/** KVM's own modules, in the guest. */
const KVM_MODULE = /^\/lib\/modules\/.*\/kvm(-amd|-intel)?\.ko$/

/** What a guest gets beside the worker. */
interface GuestFiles {
  readonly emulated: boolean
  /** The kernel's test modules, by name (src/testing/module.ts looks for them there). */
  readonly modules: Readonly<Record<string, TestModule>>
  readonly extraFiles?: readonly string[]
}

/** The initramfs with the worker for a kernel: this project's compiled code, the addon, vitest and the host's own Node. */
export async function guestInitramfs(
  kernel: KernelImage,
  { emulated, modules, extraFiles = [] }: GuestFiles,
): Promise<Initramfs> {
  const addon = join(projectRoot, 'build/Release/gmem.node')
  const worker = join(projectRoot, 'dist/pool/guest/main.js')
  const testModules = Object.values(modules).flatMap((module) => ('file' in module ? [module.file] : []))
  return await buildInitramfs({
    cacheDir: cacheRoot(),
    kernel,
    command: [process.execPath, ...(emulated ? EMULATED_NODE : []), worker],
    ...(emulated && { cpu: 0 }),
    programs: [addon],
    files: [
      join(projectRoot, 'package.json'),
      ...GUEST_PARTS.map((part) => join(projectRoot, 'dist', part)),
      ...testModules,
      ...extraFiles,
    ],
    texts: { [TEST_MODULES_LIST]: JSON.stringify(modules) },
    packages: { from: projectRoot, names: ['vitest'] },
    cwd: projectRoot,
    isExchangeable: (path) =>
      KVM_MODULE.test(path) || path === TEST_MODULES_LIST || testModules.includes(path),
    // The port's read holds one thread of the pool for ever.
    env: {
      UV_THREADPOOL_SIZE: '8',
      GMEM_TARGET: 'vm',
      NODE_ENV: 'test',
      ...(emulated && { GMEM_ONE_PROCESSOR: '1' }),
    },
  })
}
