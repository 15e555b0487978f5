// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path'
import { projectRoot } from '../paths.js'
import { type BuildModuleOptions, buildModule } from './build-module.js'
import type { KernelImage } from './types.js'

/** The modules that tests of the contract load (vm-images/modules). */
const NAMES = ['gmem_pfnmap'] as const

/** A test module for one kernel: where its .ko is, or why there is none. */
export type TestModule = { readonly file: string } | { readonly reason: string }

/** The test modules by name, built where the cache has none for this kernel. Never fails: a reason is for those who need the module. */
export async function buildTestModules(
  kernel: KernelImage,
  options: BuildModuleOptions = {},
): Promise<Readonly<Record<string, TestModule>>> {
  const modules: Record<string, TestModule> = {}
  for (const name of NAMES) {
    const folder = join(projectRoot, 'vm-images/modules', name)
    modules[name] = await buildModule(kernel, folder, options).then(
      (file) => ({ file }),
      (error: unknown) => {
        options.signal?.throwIfAborted()
        return { reason: error instanceof Error ? error.message : String(error) }
      },
    )
  }
  return modules
}
