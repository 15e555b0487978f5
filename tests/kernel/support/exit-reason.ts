// SPDX-License-Identifier: Apache-2.0
import type { Vcpu } from 'gmem/kvm'

/** struct kvm_run: request_interrupt_window, immediate_exit and padding come first. */
const OFFSET = 8

/** kvm_run.exit_reason as it is, whatever KVM_RUN has returned. */
export function exitReasonOf(vcpu: Vcpu): number {
  const { buffer, byteOffset } = vcpu.readRun(OFFSET, 4)
  return new DataView(buffer, byteOffset).getUint32(0, true)
}

/** Overwrites kvm_run.exit_reason, so that a later one shows. */
export function setExitReason(vcpu: Vcpu, reason: number): void {
  vcpu.writeRun(OFFSET, new Uint8Array(Uint32Array.of(reason).buffer))
}
