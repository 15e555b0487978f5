// SPDX-License-Identifier: Apache-2.0
import {
  KVM_MEMORY_ATTRIBUTE_PRIVATE,
  KVM_SET_MEMORY_ATTRIBUTES,
  KVM_SET_MEMORY_ATTRIBUTES2,
  kvm_memory_attributes,
  kvm_memory_attributes2,
  MADV_POPULATE_WRITE,
  SYS,
} from '../../../abi/index.js'
import {
  Mapping,
  type Memory,
  type NativeCall,
  type Sharing,
  type Vcpu,
  type Vm,
} from '../../../kvm/index.js'
import { bytes, PAGE_SIZE, pages } from '../../../units.js'
import type { ConversionWay, MemoryState } from '../../conversion-bench.js'
import { GuestFaults } from './guest-faults.js'

const ATTRIBUTES2_BYTES = 128n

/** One round of a measurement: to private and back to shared, each with what has to be done before. */
export interface Round {
  readonly calls: readonly NativeCall[]
  /** Which of the calls convert, by direction. */
  readonly converting: Readonly<Record<Sharing, readonly number[]>>
  close(): void
}

/** What a round is made of. */
export interface RoundParts {
  readonly vm: Vm
  readonly vcpu: Vcpu
  readonly memory: Memory
  readonly way: ConversionWay
  readonly state: MemoryState
}

/** The calls of a round: they can be made again and again. */
export function roundOf({ vm, vcpu, memory, way, state }: RoundParts): Round {
  // One struct a page and direction, at most.
  const requests = Mapping.anonymous(
    pages((2n * ATTRIBUTES2_BYTES * memory.size) / PAGE_SIZE / PAGE_SIZE + 1n),
  )
  const guest = new GuestFaults(vcpu, memory)
  const calls: NativeCall[] = []
  const add = (more: readonly NativeCall[]): number[] => more.map((call) => calls.push(call) - 1)
  const convert = (to: Sharing): readonly NativeCall[] =>
    way === 'two-backings'
      ? [onVm(vm, memory, to)]
      : inPlace(memory, requests, { to, pageWise: way === 'in-place-pages' })
  const isMapped = state === 'mapped'

  if (isMapped) add([populate(memory), ...guest.calls()])
  const toPrivate = add(convert('private'))
  if (isMapped) add(guest.calls())
  const toShared = add(convert('shared'))
  return {
    calls,
    converting: { private: toPrivate, shared: toShared },
    close: () => {
      requests.close()
      guest.close()
    },
  }
}

function populate({ shared }: Memory): NativeCall {
  return { number: SYS.madvise, args: [shared.hva, shared.size, MADV_POPULATE_WRITE] }
}

function onVm(vm: Vm, memory: Memory, to: Sharing): NativeCall {
  const argument = kvm_memory_attributes.encode({
    address: memory.gpa,
    size: memory.size,
    attributes: attributesOf(to),
  })
  return { number: SYS.ioctl, args: [vm.fd, KVM_SET_MEMORY_ATTRIBUTES, argument] }
}

/** The structs lie in a mapping of ours, one behind the other: those to private in its first half. */
function inPlace(
  { guestMemfd, size }: Memory,
  requests: Mapping,
  { to, pageWise }: { readonly to: Sharing; readonly pageWise: boolean },
): NativeCall[] {
  const step = pageWise ? PAGE_SIZE : size
  const count = Number(size / step)
  const first = to === 'private' ? 0n : BigInt(count) * ATTRIBUTES2_BYTES
  return Array.from({ length: count }, (_, index) => {
    const at = bytes(first + BigInt(index) * ATTRIBUTES2_BYTES)
    const offset = BigInt(index) * step
    requests.write(at, kvm_memory_attributes2.encode({ offset, size: step, attributes: attributesOf(to) }))
    return { number: SYS.ioctl, args: [guestMemfd.fd, KVM_SET_MEMORY_ATTRIBUTES2, requests.hvaOf(at)] }
  })
}

function attributesOf(to: Sharing): bigint {
  return to === 'private' ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0n
}
