// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { scaledMs, type Vm } from 'gmem/kvm'
import { path } from 'gmem/testing'

const ROOT = '/sys/kernel/debug/kvm'
/** KVM destroys a VM behind its last reference, after RCU. */
const WAIT_MS = 5000
const POLL_MS = 2

/** The folder of a VM in debugfs shows that the kernel has it. */
export const vmFolders = path(ROOT)

/** A VM in debugfs, which is there from KVM_CREATE_VM until the last reference to the VM is gone. */
export class VmFolder {
  readonly #path: string

  /** KVM names it after the process and the fd that made the VM (kvm_create_vm_debugfs(), 7.3.4). */
  constructor(vm: Vm) {
    this.#path = `${ROOT}/${process.pid}-${vm.fd}`
  }

  /** The kernel still has the VM. */
  exists(): boolean {
    return existsSync(this.#path)
  }

  /** Waits until the kernel has destroyed the VM; false where it does not. */
  async vanishes(): Promise<boolean> {
    const end = performance.now() + scaledMs(WAIT_MS)
    while (this.exists() && performance.now() < end) await sleep(POLL_MS)
    return !this.exists()
  }
}
