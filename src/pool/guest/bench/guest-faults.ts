// SPDX-License-Identifier: Apache-2.0
import { KVM_PRE_FAULT_MEMORY, kvm_pre_fault_memory, SYS } from '../../../abi/index.js'
import { binding, Mapping, type Memory, type NativeCall, type Vcpu } from '../../../kvm/index.js'
import { pages } from '../../../units.js'

/** KVM_PRE_FAULT_MEMORY, which counts its struct down: each time it is read anew from a file first. */
export class GuestFaults {
  readonly #fd: number
  readonly #argument: Mapping
  readonly #vcpu: Vcpu
  readonly #length: number

  constructor(vcpu: Vcpu, memory: Memory) {
    const template = kvm_pre_fault_memory.encode({ gpa: memory.gpa, size: memory.size })
    this.#vcpu = vcpu
    this.#length = template.length
    this.#argument = Mapping.anonymous(pages(1))
    this.#fd = binding.addon.memfdCreate('pre-fault', 0)
    binding.addon.syscall(SYS.pwrite64, [this.#fd, template, template.length, 0])
  }

  calls(): NativeCall[] {
    return [
      { number: SYS.pread64, args: [this.#fd, this.#argument.hva, this.#length, 0] },
      { number: SYS.ioctl, args: [this.#vcpu.fd, KVM_PRE_FAULT_MEMORY, this.#argument.hva] },
    ]
  }

  close(): void {
    this.#argument.close()
    binding.addon.close(this.#fd)
  }
}
