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
  /** Kernel parameters that go with it; may be empty. */
  readonly kernelParameters: string
  /** A sentence for the user: why this one. */
  readonly why: string
}

/** What the user asks for; `auto` tries. */
export type AcceleratorRequest = 'auto' | 'kvm' | 'tcg'

const MACHINE_OPTIONS = 'smm=off,vmport=off'

/**
 * Full emulation: slow, works everywhere, and has AMD SVM with nested paging. Without 5-level page tables,
 * whose extra level only costs time. `tscKhz`: the host's time-stamp counter, which the guest sees; null lets
 * its kernel calibrate.
 */
export function tcgAccelerator(why: string, tscKhz: number | null = null): Accelerator {
  return {
    kind: 'tcg',
    accel: 'tcg,thread=multi',
    cpu: 'max,+svm,-la57',
    machineOptions: MACHINE_OPTIONS,
    kernelParameters: tscKhz === null ? '' : `tsc_early_khz=${tscKhz}`,
    why,
  }
}

/** Hardware virtualization, with the host's SVM or VMX passed on. */
export function kvmAccelerator(cpu: string, why: string): Accelerator {
  return { kind: 'kvm', accel: 'kvm', cpu, machineOptions: MACHINE_OPTIONS, kernelParameters: '', why }
}
