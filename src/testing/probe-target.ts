// SPDX-License-Identifier: Apache-2.0
import os from 'node:os'
import {
  io,
  KVM_CAP,
  KVM_CREATE_GUEST_MEMFD,
  KVM_GMEM_CONVERT_PRIVATE,
  KVM_MEMORY_ATTRIBUTE_PRIVATE,
  KVM_PRE_FAULT_MEMORY,
  KVM_SET_MEMORY_ATTRIBUTES,
  KVM_SET_MEMORY_ATTRIBUTES2,
  KVM_SET_USER_MEMORY_REGION2,
  KVMIO,
  VM_TYPE,
  type VmType,
} from '../abi/index.js'
import { bytes, gpa, Kvm, pages, type Vm } from '../kvm/index.js'
import { hugetlbFree, kvmModuleUsesTdp, numaNodes, thpWorks } from './probe-host.js'
import type { TargetInfo, VmTypeInfo } from './target.js'

const FLAG_BITS_TRIED = 8
const TEST_GPA = gpa(0x1000_0000)
const PRIVATE_VM_TYPES: readonly VmType[] = ['DEFAULT', 'SW_PROTECTED']

let cached: TargetInfo | null = null

/**
 * What this kernel offers, found by doing. Kept for the life of the process: the guest worker calls it before its VM is saved, so that no
 * test pays for it. Plain data, fit for JSON.
 */
export function probeTarget(): TargetInfo {
  cached ??= probe()
  return cached
}

/** KVM is another one now: the next question is asked anew, or has `known` as its answer. Returns what was known. */
export function takeTarget(known: TargetInfo | null = null): TargetInfo | null {
  const before = cached
  cached = known
  return before
}

function probe(): TargetInfo {
  const host = {
    schema: 1 as const,
    release: os.release(),
    version: os.version(),
    arch: os.machine(),
    thp: thpWorks(),
    hugetlbFree: hugetlbFree(),
    numaNodes: numaNodes(),
  }
  let kvm: Kvm
  try {
    kvm = openKvm()
  } catch (error) {
    const none = { apiVersion: 0, cpuVendor: '', capabilities: {}, vmTypes: [], ioctls: {}, tdp: false }
    return { ...host, ...none, kvmError: codeOf(error) }
  }
  try {
    const vmTypes = kvm.vmTypes().map((type) => probeVmType(kvm, type))
    return {
      ...host,
      kvmError: '',
      apiVersion: kvm.apiVersion(),
      cpuVendor: kvm.cpuVendor(),
      capabilities: capabilitiesOf((number) => kvm.capability(number)),
      vmTypes,
      ioctls: probeIoctls(kvm),
      tdp: vmTypes.some((info) => info.preFault === '' && info.error === '') || kvmModuleUsesTdp(),
    }
  } finally {
    kvm.close()
  }
}

/** Opens KVM and has it answer: a device that is none can be opened, too (ENOTTY). */
function openKvm(): Kvm {
  const kvm = Kvm.open()
  try {
    kvm.apiVersion()
    return kvm
  } catch (error) {
    kvm.close()
    throw error
  }
}

function capabilitiesOf(check: (capability: number) => number): Record<string, number> {
  const values = Object.entries(KVM_CAP).map(([name, number]) => [name, check(number)] as const)
  return Object.fromEntries(values.filter(([, value]) => value !== 0))
}

function probeVmType(kvm: Kvm, type: VmType): VmTypeInfo {
  const number = typeof type === 'number' ? type : VM_TYPE[type]
  const info = { type: String(type), number, reported: true }
  const nothing = {
    capabilities: {},
    guestMemfdFlags: null,
    guestMemfdMemslot: '',
    privateAttribute: '',
    preFault: '',
    inPlaceConversion: '',
  }
  let vm: Vm
  try {
    vm = kvm.createVm({ type })
  } catch (error) {
    return { ...info, ...nothing, error: codeOf(error) }
  }
  try {
    const capabilities = capabilitiesOf((capability) => vm.capability(capability))
    const guestMemfdFlags = acceptedFlags(vm)
    // Confidential VM types need firmware set-up before anything else works: not ours to probe.
    if (!PRIVATE_VM_TYPES.includes(type))
      return { ...info, ...nothing, error: '', capabilities, guestMemfdFlags }
    const setPrivate = () => vm.setPrivate({ gpa: TEST_GPA, size: pages(1) })
    const privateAttribute = codeOf(outcomeOf(setPrivate))
    if (privateAttribute === '') vm.setShared({ gpa: TEST_GPA, size: pages(1) })
    const inPlaceConversion = probeInPlaceConversion(vm, guestMemfdFlags)
    return {
      ...info,
      error: '',
      capabilities,
      guestMemfdFlags,
      guestMemfdMemslot: probeGuestMemfdMemslot(vm, guestMemfdFlags),
      privateAttribute,
      inPlaceConversion,
      preFault: probePreFault(vm),
    }
  } finally {
    vm.close()
  }
}

function acceptedFlags(vm: Vm): number | null {
  const accepts = (flags: bigint) =>
    codeOf(outcomeOf(() => vm.createGuestMemfd({ size: pages(1), flags }).close())) === ''
  if (!accepts(0n)) return null
  const bits = Array.from({ length: FLAG_BITS_TRIED }, (_, bit) => 1 << bit)
  return bits.filter((bit) => accepts(BigInt(bit))).reduce((all, bit) => all | bit, 0)
}

function probeGuestMemfdMemslot(vm: Vm, flags: number | null): string {
  if (flags === null) return 'no guest_memfd'
  const bind = (): void => vm.addMemory({ gpa: TEST_GPA, size: pages(1), guestMemfd: {} }).remove()
  return codeOf(outcomeOf(bind))
}

// To shared and back: either of them may be what the page is already, and then nothing is converted.
function probeInPlaceConversion(vm: Vm, flags: number | null): string {
  if (flags === null) return 'no guest_memfd'
  const file = vm.createGuestMemfd({ size: pages(1) })
  const set = (attributes: bigint) => file.setAttributes({ offset: 0n, size: pages(1), attributes })
  try {
    const toShared = codeOf(outcomeOf(() => set(0n)))
    return toShared === '' ? codeOf(outcomeOf(() => set(KVM_MEMORY_ATTRIBUTE_PRIVATE))) : toShared
  } finally {
    file.close()
  }
}

function probePreFault(vm: Vm): string {
  const memory = vm.addMemory({ gpa: TEST_GPA, size: pages(1) })
  const vcpu = vm.createVcpu()
  return vcpu.preFault(memory).code
}

// Arguments that KVM refuses with something other than ENOTTY where it knows the ioctl.
function probeIoctls(kvm: Kvm): Record<string, boolean> {
  const vm = kvm.createVm()
  try {
    const vcpu = vm.createVcpu()
    const knows = (attempt: () => unknown) => codeOf(outcomeOf(attempt)) !== 'ENOTTY'
    return {
      KVM_SET_USER_MEMORY_REGION2: knows(() => vm.ioctl(KVM_SET_USER_MEMORY_REGION2, 0n)),
      KVM_SET_MEMORY_ATTRIBUTES: knows(() => vm.ioctl(KVM_SET_MEMORY_ATTRIBUTES, 0n)),
      KVM_CREATE_GUEST_MEMFD: knows(() => vm.ioctl(KVM_CREATE_GUEST_MEMFD, 0n)),
      KVM_PRE_FAULT_MEMORY: knows(() => vcpu.ioctl(KVM_PRE_FAULT_MEMORY, 0n)),
      'guest_memfd: KVM_SET_MEMORY_ATTRIBUTES2': fileKnows(vm, KVM_SET_MEMORY_ATTRIBUTES2),
      'guest_memfd: KVM_GMEM_CONVERT_PRIVATE': fileKnows(vm, KVM_GMEM_CONVERT_PRIVATE),
      'a made-up ioctl': knows(() => vm.ioctl(io(KVMIO, 0xff), 0n)),
    }
  } finally {
    vm.close()
  }
}

function fileKnows(vm: Vm, request: number): boolean {
  const made = outcomeOf(() => vm.createGuestMemfd({ size: bytes(4096) }))
  if (made !== null) return false
  const file = vm.createGuestMemfd({ size: pages(1) })
  try {
    return codeOf(outcomeOf(() => file.ioctl(request, 0n))) !== 'ENOTTY'
  } finally {
    file.close()
  }
}

// What an attempt threw, or null.
function outcomeOf(attempt: () => unknown): unknown {
  try {
    attempt()
    return null
  } catch (error) {
    return error
  }
}

function codeOf(error: unknown): string {
  if (error === null) return ''
  return error instanceof Error && 'code' in error ? String(error.code) : String(error)
}
