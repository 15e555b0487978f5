// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { O_RDONLY } from '../abi/index.js'
import { binding } from '../kvm/index.js'
import { forgetTarget } from './probe-target.js'

// asm/unistd_64.h
const SYS_FINIT_MODULE = 313
const SYS_DELETE_MODULE = 176
/** The module of a processor's make: the one that is loaded goes first, and comes back last. */
const MAKES = ['kvm_amd', 'kvm_intel'] as const

/**
 * Sets a parameter of the kvm module that can be set only when it is loaded, in a VM of gmem's own: there nothing else uses KVM, and the next
 * test file has another VM. Does nothing where the parameter has that value, does not exist, or is not this VM's to set. KernelError
 * with EBUSY or EWOULDBLOCK while a VM or a KVM descriptor is open.
 */
export function setKvmParameter(name: string, value: 'Y' | 'N'): void {
  const parameter = `/sys/module/kvm/parameters/${name}`
  const folder = join('/lib/modules', os.release())
  if (process.env.GMEM_OUT_PORT === undefined || !existsSync(parameter) || !existsSync(folder)) return
  if (readFileSync(parameter, 'latin1').trim() === value) return
  const make = MAKES.find((module) => existsSync(`/sys/module/${module}`))
  const kvm = moduleFile(folder, 'kvm')
  // Built in: then it is the kernel's command line that says.
  if (make === undefined || kvm === null) return
  const makeFile = moduleFile(folder, make)
  if (makeFile === null) return
  unload(make)
  unload('kvm')
  load(kvm, `${name}=${value}`)
  load(makeFile, '')
  forgetTarget()
}

function moduleFile(folder: string, module: string): string | null {
  const file = `${module.replaceAll('_', '-')}.ko`
  const found = readdirSync(folder, { recursive: true, encoding: 'utf8' }).find(
    (path) => path === file || path.endsWith(`/${file}`),
  )
  return found === undefined ? null : join(folder, found)
}

function unload(module: string): void {
  binding.addon.syscall(SYS_DELETE_MODULE, [cString(module), 0])
}

function load(path: string, parameters: string): void {
  const { addon } = binding
  const fd = addon.open(path, O_RDONLY, 0)
  try {
    addon.syscall(SYS_FINIT_MODULE, [fd, cString(parameters), 0])
  } finally {
    addon.close(fd)
  }
}

function cString(text: string): Uint8Array {
  return Buffer.from(`${text}\0`)
}
