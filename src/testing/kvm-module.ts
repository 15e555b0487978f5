// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { forgetCpuid } from '../kvm/index.js'
import { insertModule, removeModule } from './module.js'
import { takeTarget } from './probe-target.js'
import type { TargetInfo } from './target.js'

/** The module of a processor's make: the one that is loaded goes first, and comes back last. */
const MAKES = ['kvm_amd', 'kvm_intel'] as const

/** KVM's modules, and what was probed with them as they came. */
interface Found {
  readonly make: string
  readonly target: TargetInfo | null
}

let found: Found | null = null

/**
 * Sets a parameter of the kvm module that can be set only when it is loaded, in a VM of gmem's own, where nothing else uses KVM, for the rest
 * of the test file. Does nothing where the parameter has that value, does not exist, or is not this VM's to set. KernelError with EBUSY
 * or EWOULDBLOCK while a VM or a KVM descriptor is open.
 */
export function setKvmParameter(name: string, value: 'Y' | 'N'): void {
  const parameter = `/sys/module/kvm/parameters/${name}`
  if (process.env.GMEM_OUT_PORT === undefined || !existsSync(parameter)) return
  if (readFileSync(parameter, 'latin1').trim() === value) return
  const make = loadedMake()
  // Built in: then it is the kernel's command line that says.
  if (make === undefined || kvmModuleFile('kvm') === null || kvmModuleFile(make) === null) return
  found ??= { make, target: takeTarget() }
  loadKvm(unloadKvm(make), `${name}=${value}`)
  takeTarget()
}

/** Loads KVM as it was before the first setKvmParameter(). Returns whether there was any. KernelError as there. */
export function restoreKvm(): boolean {
  if (found === null) return false
  const { make, target } = found
  loadKvm(unloadKvm(make), '')
  takeTarget(target)
  found = null
  return true
}

/** The files of the modules that removeKvm() took out. */
let removed: KvmFiles | null = null

/** Unloads KVM, until replaceKvm(). Error where KVM is built in; KernelError as above. */
export function removeKvm(): void {
  removed = unloadKvm(loadedMake())
}

/** The files of KVM's modules are others than those that are, or were, loaded: loads them. Errors as removeKvm(). */
export function replaceKvm(): void {
  loadKvm(removed ?? unloadKvm(loadedMake()), '')
  removed = null
  takeTarget()
  forgetCpuid()
}

/** Where KVM's modules lie, in the order in which they are loaded. */
type KvmFiles = readonly [string, string]

function unloadKvm(make: string | undefined): KvmFiles {
  if (make === undefined) throw new Error('KVM is not loaded as a module')
  const [kvmFile, makeFile] = [kvmModuleFile('kvm'), kvmModuleFile(make)]
  if (kvmFile === null || makeFile === null) throw new Error(`no file of the modules kvm and ${make}`)
  removeModule(make)
  removeModule('kvm')
  return [kvmFile, makeFile]
}

function loadKvm([kvmFile, makeFile]: KvmFiles, parameters: string): void {
  insertModule(kvmFile, parameters)
  insertModule(makeFile)
}

/** The name of the make's module that is loaded, undefined where KVM is built in or for another make. */
export function loadedMake(): string | undefined {
  return MAKES.find((module) => existsSync(`/sys/module/${module}/refcnt`))
}

/** Where the running kernel's module (`kvm`, `kvm_amd`) lies as a file, null where it does not. */
export function kvmModuleFile(module: string): string | null {
  const folder = join('/lib/modules', os.release())
  if (!existsSync(folder)) return null
  const file = `${module.replaceAll('_', '-')}.ko`
  const found = readdirSync(folder, { recursive: true, encoding: 'utf8' }).find(
    (path) => path === file || path.endsWith(`/${file}`),
  )
  return found === undefined ? null : join(folder, found)
}
