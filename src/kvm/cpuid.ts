// SPDX-License-Identifier: Apache-2.0
import { CPUID_ENTRY_BYTES, CPUID2_HEADER_BYTES } from '../abi/index.js'
import type { NativeKvm } from '../binding/addon.js'

/** What KVM offers to guests on this machine. */
export interface SupportedCpuid {
  /** struct kvm_cpuid2, as KVM_GET_SUPPORTED_CPUID filled it. */
  readonly supported: Uint8Array
  /** Leaf 0's vendor: `GenuineIntel`, `AuthenticAMD`, ... */
  readonly vendor: string
  /** AMD and its licensees enter the hypervisor with vmmcall, all others with vmcall. */
  readonly usesVmmcall: boolean
}

let known: SupportedCpuid | null = null

/** KVM_GET_SUPPORTED_CPUID, asked once: it does not change while a kernel runs. */
export function cpuidOf(kvm: NativeKvm): SupportedCpuid {
  known ??= ask(kvm)
  return known
}

/** KVM was loaded anew: it may offer something else. */
export function forgetCpuid(): void {
  known = null
}

function ask(kvm: NativeKvm): SupportedCpuid {
  const supported = kvm.supportedCpuid()
  const vendor = vendorOf(supported)
  return { supported, vendor, usesVmmcall: vendor === 'AuthenticAMD' || vendor === 'HygonGenuine' }
}

function vendorOf(cpuid2: Uint8Array): string {
  const view = new DataView(cpuid2.buffer, cpuid2.byteOffset, cpuid2.byteLength)
  const count = view.getUint32(0, true)
  for (let index = 0; index < count; index += 1) {
    // struct kvm_cpuid_entry2: function, index, flags, eax, ebx, ecx, edx.
    const entry = CPUID2_HEADER_BYTES + index * CPUID_ENTRY_BYTES
    if (view.getUint32(entry, true) !== 0) continue
    return [16, 24, 20].map((register) => ascii(view.getUint32(entry + register, true))).join('')
  }
  return ''
}

function ascii(register: number): string {
  return String.fromCharCode(
    register & 0xff,
    (register >> 8) & 0xff,
    (register >> 16) & 0xff,
    register >>> 24,
  )
}
