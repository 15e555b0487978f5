// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../paths.js'
import { type BuildModuleOptions, buildModule, isModuleTried } from './build-module.js'
import { treeDirOf } from './build-tree.js'
import type { BuildRequest } from './request.js'
import type { KernelImage } from './types.js'

/** The modules that tests of the contract load (vm-images/modules). */
const NAMES = ['gmem_pfnmap'] as const

/**
 * Whether a kernel that is there is built again because our test modules have changed since: they need its tree, in which another kernel
 * may have been built. With the tree that takes seconds; without it the kernel does without them.
 */
export async function isWorthRebuilding(request: BuildRequest, kernel: KernelImage): Promise<boolean> {
  if (!existsSync(treeDirOf(request.source, request.flavour))) return false
  const tried = await Promise.all(NAMES.map((name) => isModuleTried(kernel, folderOf(name))))
  return !tried.every(Boolean)
}

/** A test module for one kernel: where its .ko is, or why there is none. */
export type TestModule = { readonly file: string } | { readonly reason: string }

/** The test modules by name, built where the cache has none for this kernel. Never fails: a reason is for those who need the module. */
export async function buildTestModules(
  kernel: KernelImage,
  options: BuildModuleOptions = {},
): Promise<Readonly<Record<string, TestModule>>> {
  const modules: Record<string, TestModule> = {}
  for (const name of NAMES) {
    modules[name] = await buildModule(kernel, folderOf(name), options).then(
      (file) => ({ file }),
      (error: unknown) => {
        options.signal?.throwIfAborted()
        return { reason: error instanceof Error ? error.message : String(error) }
      },
    )
  }
  return modules
}

function folderOf(name: string): string {
  return join(projectRoot, 'vm-images/modules', name)
}
