// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { makeVariables } from './flavours.js'
import { type MakeOptions, make } from './make.js'
import type { BuildRequest } from './request.js'

/** Modules by their objects, in the order of the kernel's Makefiles. */
const MODULES_ORDER = 'modules.order'

/** What a tree was made with: one that is made with something else is made as a whole. */
export function makingOf({ fragments, toolchain }: BuildRequest): string {
  return createHash('sha256')
    .update(JSON.stringify([fragments, toolchain]))
    .digest('hex')
}

/** Elsewhere a C file of a module may be part of vmlinux or of the boot code as well, which includes some. */
const KVM = /^(virt|arch\/\w+)\/kvm\/.*\.c$/

/**
 * Whether all that changed since the whole tree was made, and something did, are C files of KVM's modules: the rest, vmlinux above all,
 * then is as it would come out again. Kbuild keeps the command of each object beside it, and compiles those of modules with -DMODULE.
 */
export function isOnlyOfModules(src: string, changed: readonly string[]): boolean {
  return changed.length > 0 && changed.every((path) => KVM.test(path) && isOfModule(src, path))
}

function isOfModule(src: string, path: string): boolean {
  const command = join(src, dirname(path), `.${basename(path, '.c')}.o.cmd`)
  try {
    return / -DMODULE /.test(readFileSync(command, 'utf8').split('\n', 1)[0] ?? '')
  } catch {
    // Not compiled, or included by other files.
    return false
  }
}

/**
 * Makes the modules alone, in less than half the time that Kbuild takes to see that nothing else is to be done: as single targets
 * (Makefile, "single-build"), which leave out vmlinux and the folders without any. All of them, since a symbol that one exports
 * concerns the others.
 */
export async function makeModules(request: BuildRequest, options: MakeOptions): Promise<void> {
  const file = join(options.src, MODULES_ORDER)
  const order = readFileSync(file, 'utf8')
  const targets = order.split('\n').flatMap((object) => (object === '' ? [] : object.replace(/\.o$/, '.ko')))
  try {
    await make([...makeVariables(request.fragments), ...targets], options)
  } finally {
    // A single build removes it, for its own is of its targets only.
    writeFileSync(file, order)
  }
}
