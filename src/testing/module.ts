// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from 'node:fs'
import { O_RDONLY, SYS } from '../abi/index.js'
import { binding } from '../kvm/index.js'
import { testObserver } from './lifecycle.js'
import { TEST_MODULES_LIST } from './module-list.js'
import { bootParametersOf } from './module-parameters.js'
import { type Need, need } from './needs.js'

/**
 * A test module of this project (vm-images/modules), which gmem builds for the kernel under test and puts into its VM. Loaded when it is
 * first needed, and there until the VM ends: it does nothing to those who do not open its device.
 */
export function testModule(name: string): Need {
  return need(`the module ${name}`, () => {
    if (existsSync(`/sys/module/${name}`)) return null
    if (!existsSync(TEST_MODULES_LIST)) return 'gmem loads its modules only in VMs of its own'
    const { file, reason } = listed(name)
    if (file === undefined) return reason ?? 'gmem put none into this VM'
    try {
      insertModule(file)
      return null
    } catch (error) {
      return `loading it fails: ${error instanceof Error ? error.message : String(error)}`
    }
  })
}

/**
 * finit_module(2) of a .ko, with the parameters of the kernel's command line and then these, as modprobe does: the last one counts.
 * KernelError with its errno.
 */
export function loadModule(file: string, parameters = ''): void {
  testObserver().onKernelChanged?.()
  insertModule(file, parameters)
}

/** loadModule(), by one who puts everything back before the next test file. */
export function insertModule(file: string, parameters = ''): void {
  const { addon } = binding
  const fd = addon.open(file, O_RDONLY, 0)
  try {
    addon.syscall(SYS.finit_module, [fd, cString(`${bootParametersOf(file)} ${parameters}`), 0])
  } finally {
    addon.close(fd)
  }
}

/** delete_module(2). KernelError with EBUSY or EWOULDBLOCK while it is in use, ENOENT where it is not loaded. */
export function unloadModule(name: string): void {
  testObserver().onKernelChanged?.()
  removeModule(name)
}

/** unloadModule(), by one who puts everything back before the next test file. */
export function removeModule(name: string): void {
  binding.addon.syscall(SYS.delete_module, [cString(name), 0])
}

function listed(name: string): { readonly file?: string; readonly reason?: string } {
  const list: Readonly<Record<string, { file?: string; reason?: string }>> = JSON.parse(
    readFileSync(TEST_MODULES_LIST, 'utf8'),
  )
  return list[name] ?? {}
}

function cString(text: string): Uint8Array {
  return Buffer.from(`${text}\0`)
}
