// SPDX-License-Identifier: Apache-2.0
import { type Capability, capabilityNumber, VM_TYPE, type VmType } from '../abi/index.js'
import type { NativeKvm } from '../binding/addon.js'
import { binding, KernelError } from '../binding/index.js'
import { Children, type Closable } from './children.js'
import { cpuidOf } from './cpuid.js'
import { Vm } from './vm.js'

const EINTR_ATTEMPTS_MAX = 100

/** The kernel's KVM: an open /dev/kvm. Closing it closes all its VMs first. */
export class Kvm implements Disposable, Closable {
  readonly #native: NativeKvm
  readonly #children = new Children()

  private constructor(native: NativeKvm) {
    this.#native = native
  }

  /** Opens KVM. KernelError ENOENT without KVM, EACCES without rights, ENODEV where the CPU cannot. */
  static open(path = '/dev/kvm'): Kvm {
    return new Kvm(binding.addon.openKvm(path))
  }

  get fd(): number {
    return this.#native.fd
  }

  /** KVM_GET_API_VERSION: 12 since 2007. */
  apiVersion(): number {
    return this.#native.apiVersion()
  }

  /** KVM_CHECK_EXTENSION on the system: 0 where the kernel lacks the capability. A VM may say otherwise. */
  capability(capability: Capability): number {
    return this.#native.checkExtension(capabilityNumber(capability))
  }

  /** True where the system has the capability. */
  has(capability: Capability): boolean {
    return this.capability(capability) > 0
  }

  /** VM types by KVM_CAP_VM_TYPES; DEFAULT alone on kernels without it. A bit without a name gives its number. */
  vmTypes(): VmType[] {
    const bits = this.capability('VM_TYPES') || 1
    const numbers = Array.from({ length: 32 }, (_, bit) => bit).filter((bit) => ((bits >>> bit) & 1) === 1)
    return numbers.map((number) => vmTypeName(number))
  }

  /**
   * KVM_CREATE_VM. KernelError EINVAL where the type is not offered. Tried again on EINTR: the kernel gives up registering its mmu notifier
   * when anything is pending for the thread (mm/vma.c, mm_take_all_locks), such as the end of an io_uring.
   */
  createVm(options: { readonly type?: VmType } = {}): Vm {
    const type = options.type ?? 'DEFAULT'
    const number = BigInt(typeof type === 'number' ? type : VM_TYPE[type])
    const native = retriedOnEintr(() => this.#native.createVm(number))
    const onClose = (self: Vm) => this.#children.delete(self)
    return this.#children.add(new Vm(native, { kvm: this.#native, outliving: this.#children, onClose }))
  }

  /** KVM_GET_SUPPORTED_CPUID: struct kvm_cpuid2. */
  supportedCpuid(): Uint8Array {
    return cpuidOf(this.#native).supported.slice()
  }

  /** The CPU vendor that guests see: `GenuineIntel`, `AuthenticAMD`. */
  cpuVendor(): string {
    return cpuidOf(this.#native).vendor
  }

  /** Any ioctl on /dev/kvm; bytes are written back. KernelError with its errno. */
  ioctl(request: number, argument: Uint8Array | bigint | null = null): number {
    return binding.addon.ioctl(this.fd, request, argument)
  }

  /** Closes its VMs, then the fd. Idempotent; any use after it is a TypeError. */
  close(): void {
    this.#children.closeAll()
    this.#native.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** The name of a VM type, or its number where it has none here. */
export function vmTypeName(number: number): VmType {
  const names = Object.keys(VM_TYPE) as (keyof typeof VM_TYPE)[]
  return names.find((name) => VM_TYPE[name] === number) ?? number
}

function retriedOnEintr<T>(call: () => T): T {
  for (let attempt = 1; ; attempt++) {
    try {
      return call()
    } catch (error) {
      if (!(error instanceof KernelError) || error.code !== 'EINTR' || attempt === EINTR_ATTEMPTS_MAX)
        throw error
    }
  }
}
