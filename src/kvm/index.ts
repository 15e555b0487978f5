// SPDX-License-Identifier: Apache-2.0
/** Typed KVM: what a test drives. */
/** The addon, for system calls that no class has; every call through it is in a test's trace. */
export { COPY_NUMBER, type NativeCall, type NativeCallResult } from '../binding/addon.js'
export { binding, KernelError, refusalOf } from '../binding/index.js'
export * from '../units.js'
export type { AddMemoryOptions, Backing } from './add-memory.js'
export type { Attempt, CpuidResult, PortWidth } from './attempt.js'
export {
  type AttributesRequest,
  ConversionError,
  type GmemConvertRequest,
  type RawConversion,
  type Sharing,
} from './conversion.js'
export { type BlockedPage, type ConvertRetryOptions, convertWithRetry } from './conversion-retry.js'
export { forgetCpuid } from './cpuid.js'
export type { ResumeOptions, RunOptions } from './execution.js'
export * from './exits.js'
export { format, formatReason } from './format.js'
export { type FileStat, GuestMemfd, type GuestMemfdFlags, guestMemfdFlagBits } from './guest-memfd.js'
export { Kvm, vmTypeName } from './kvm.js'
export { type LaunchResult, sevCommand, tdxCommand } from './launch.js'
export { Mapping } from './mapping.js'
export { Memory } from './memory.js'
export type { Memslot } from './memslots.js'
export { MONITOR_BASE, MONITOR_SIZE, MONITOR_SLOT, MONITOR_VCPUS_MAX } from './monitor-image.js'
export {
  type Done,
  type GuestException,
  type Mismatch,
  type Outcome,
  UnexpectedExitError,
  unwrap,
} from './outcome.js'
export type { MemorySignal, Probe, ProbeFault, ProbeValue, Width } from './probe.js'
export type { GpaRange, MemoryRange, Span } from './range.js'
export { Spin, type SpinOptions } from './spin.js'
export { forgetSlowdown, scaledMs, slowdown } from './time.js'
export { type PreFaultResult, Vcpu } from './vcpu.js'
export { Vm } from './vm.js'
