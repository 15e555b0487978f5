// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { O_RDONLY } from 'gmem/abi'
import { binding, type NativeCall } from 'gmem/kvm'
import { type GmemContext, loadModule, type Need, need, unloadModule } from 'gmem/testing'
import { ownVm } from './own-vm.js'

// asm/unistd_64.h
const SYS_FINIT_MODULE = 313
const FOLDER = join('/lib/modules', os.release())
/** The modules of the processors' makes: kvm_init(), and with it kvm_gmem_init(), is called when one of them is loaded. */
const MAKES = ['kvm_amd', 'kvm_intel'] as const

const loadedMake = () => MAKES.find((name) => existsSync(`/sys/module/${name}/refcnt`))

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
    this.#name = name
    this.#file = moduleFile(name)
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
    return { number: SYS_FINIT_MODULE, args: [fd, Buffer.from('\0'), 0] }
  }
}

function moduleFile(name: string): string {
  const file = `${name.replaceAll('_', '-')}.ko`
  const found = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' }).find((path) => path.endsWith(file))
  if (found === undefined) throw new Error(`${FOLDER} has no ${file}`)
  return join(FOLDER, found)
}
