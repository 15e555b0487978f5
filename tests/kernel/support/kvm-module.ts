// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs'
import { O_RDONLY, SYS } from 'gmem/abi'
import { binding, type NativeCall } from 'gmem/kvm'
import {
  bootParametersOf,
  type GmemContext,
  kvmModuleFile,
  loadedMake,
  loadModule,
  type Need,
  need,
  unloadModule,
} from 'gmem/testing'
import { ownVm } from './own-vm.js'

/** KVM is a module that a test can unload and load, in a VM of gmem's own. */
export const kvmModule: readonly Need[] = [
  ownVm,
  need('KVM as a module', () =>
    loadedMake() === undefined ? 'neither kvm_amd nor kvm_intel is loaded as a module' : null,
  ),
]

/** The module of the processor's make: loaded when the test begins, and again after it. */
export class KvmModule {
  readonly #name: string
  readonly #file: string
  readonly #defer: GmemContext['defer']

  constructor({ defer }: Pick<GmemContext, 'defer'>) {
    const name = loadedMake()
    if (name === undefined) throw new Error('no module of KVM is loaded')
    const file = kvmModuleFile(name)
    if (file === null) throw new Error(`there is no file of the module ${name}`)
    this.#name = name
    this.#file = file
    this.#defer = defer
    defer(() => {
      if (!this.isLoaded()) this.load()
    })
  }

  isLoaded(): boolean {
    return existsSync(`/sys/module/${this.#name}`)
  }

  load(): void {
    loadModule(this.#file)
  }

  /** KernelError with EAGAIN (delete_module(2) names it EWOULDBLOCK) while a file of KVM's is open. */
  unload(): void {
    unloadModule(this.#name)
  }

  /** load(), for a thread of its own. */
  loading(): NativeCall {
    const fd = binding.addon.open(this.#file, O_RDONLY, 0)
    this.#defer(() => binding.addon.close(fd))
    return { number: SYS.finit_module, args: [fd, Buffer.from(`${bootParametersOf(this.#file)}\0`), 0] }
  }
}
