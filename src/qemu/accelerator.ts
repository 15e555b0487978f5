// SPDX-License-Identifier: Apache-2.0

/** What runs the guest's processors. */
export interface Accelerator {
  readonly kind: 'kvm' | 'tcg'
  /** For -accel. */
  readonly accel: string
  /** For -cpu. */
  readonly cpu: string
  /** More machine options, for -machine. */
  readonly machineOptions: string
  /** A sentence for the user: why this one. */
  readonly why: string
}

/** What the user asks for; `auto` tries. */
export type AcceleratorRequest = 'auto' | 'kvm' | 'tcg'

const MACHINE_OPTIONS = 'smm=off,vmport=off'

/** Full emulation: slow, works everywhere, and has AMD SVM with nested paging. */
export function tcgAccelerator(why: string): Accelerator {
  return { kind: 'tcg', accel: 'tcg,thread=multi', cpu: 'max,+svm', machineOptions: MACHINE_OPTIONS, why }
}

/** Hardware virtualization, with the host's SVM or VMX passed on. */
export function kvmAccelerator(cpu: string, why: string): Accelerator {
  return { kind: 'kvm', accel: 'kvm', cpu, machineOptions: MACHINE_OPTIONS, why }
}
