// SPDX-License-Identifier: Apache-2.0
import { KVM_HC_MAP_GPA_RANGE } from '../abi/index.js'
import type { Gpa } from '../units.js'
import { first, MemoryAttempt, narrow, nothing, qwordAt } from './attempt-memory.js'
import { type RunOptions, touching } from './execution.js'
import { type MonitorResult, OP } from './monitor-protocol.js'
import type { Outcome } from './outcome.js'
import type { GpaRange } from './range.js'

/** What CPUID returned. */
export interface CpuidResult {
  readonly eax: number
  readonly ebx: number
  readonly ecx: number
  readonly edx: number
}

/** Bytes of one port access. */
export type PortWidth = 1 | 2 | 4

/**
 * A vCPU's operations in the form that returns whatever happened. `vcpu.read64(gpa)` is the plain form of `vcpu.attempt.read64(gpa)`:
 * it resolves to the value and rejects with UnexpectedExitError for all else. Addresses are gpas, which the guest maps one to one.
 */
export class Attempt extends MemoryAttempt {
  /** Enters the guest and comes back: what the monitor does when it does nothing. */
  nop(options?: RunOptions): Promise<Outcome<null>> {
    return this.run({ name: 'nop', op: OP.NOP, args: [], decode: nothing }, options)
  }

  /** Calls code at a gpa: rax when it returns. */
  call(gpa: Gpa, options?: RunOptions): Promise<Outcome<bigint>> {
    return this.run({ name: 'call', op: OP.CALL, args: [gpa], touches: qwordAt(gpa), decode: first }, options)
  }

  /** A KVM hypercall with up to four arguments: rax as a signed number. */
  hypercall(nr: bigint, args: readonly bigint[] = [], options?: RunOptions): Promise<Outcome<bigint>> {
    const decode = ({ values }: MonitorResult) => BigInt.asIntN(64, values[0])
    return this.run({ name: 'hypercall', op: OP.HYPERCALL, args: [nr, ...args], decode }, options)
  }

  /** KVM_HC_MAP_GPA_RANGE: asks userspace for a conversion. With KVM_CAP_EXIT_HYPERCALL enabled it gives a HYPERCALL exit. */
  mapGpaRange(
    request: { readonly gpa: bigint; readonly pages: bigint; readonly attributes: bigint },
    options?: RunOptions,
  ): Promise<Outcome<bigint>> {
    return this.hypercall(KVM_HC_MAP_GPA_RANGE, [request.gpa, request.pages, request.attributes], options)
  }

  /** Reads a port: normally an IO exit, answered with `resume({ data })`. */
  in(port: number, width: PortWidth, options?: RunOptions): Promise<Outcome<number>> {
    const args = [BigInt(port), BigInt(width)]
    return this.run({ name: 'in', op: OP.IN, args, decode: narrow }, options)
  }

  /** Writes a port: normally an IO exit. */
  out(port: number, width: PortWidth, value: number, options?: RunOptions): Promise<Outcome<null>> {
    const args = [BigInt(port), BigInt(width), BigInt(value)]
    return this.run({ name: 'out', op: OP.OUT, args, decode: nothing }, options)
  }

  /** rep insb into a range: KVM itself writes guest memory. */
  ins(port: number, range: GpaRange, options?: RunOptions): Promise<Outcome<null>> {
    const args = [BigInt(port), range.gpa, range.size]
    return this.run({ name: 'ins', op: OP.INS, args, touches: touching(range), decode: nothing }, options)
  }

  /** rep outsb from a range: KVM itself reads guest memory. */
  outs(port: number, range: GpaRange, options?: RunOptions): Promise<Outcome<null>> {
    const args = [BigInt(port), range.gpa, range.size]
    return this.run({ name: 'outs', op: OP.OUTS, args, touches: touching(range), decode: nothing }, options)
  }

  /** CPUID as the guest sees it. */
  cpuid(leaf: number, subleaf = 0, options?: RunOptions): Promise<Outcome<CpuidResult>> {
    const decode = ({ values }: MonitorResult) => {
      const [eax, ebx, ecx, edx] = values
      return { eax: Number(eax), ebx: Number(ebx), ecx: Number(ecx), edx: Number(edx) }
    }
    return this.run({ name: 'cpuid', op: OP.CPUID, args: [BigInt(leaf), BigInt(subleaf)], decode }, options)
  }

  /** Reads an MSR; #GP is an EXCEPTION outcome. */
  rdmsr(index: number, options?: RunOptions): Promise<Outcome<bigint>> {
    return this.run({ name: 'rdmsr', op: OP.RDMSR, args: [BigInt(index)], decode: first }, options)
  }

  /** Writes an MSR. */
  wrmsr(index: number, value: bigint, options?: RunOptions): Promise<Outcome<null>> {
    return this.run({ name: 'wrmsr', op: OP.WRMSR, args: [BigInt(index), value], decode: nothing }, options)
  }

  /** Reloads cr3. */
  flushTlb(options?: RunOptions): Promise<Outcome<null>> {
    return this.run({ name: 'flushTlb', op: OP.FLUSH_TLB, args: [], decode: nothing }, options)
  }
}
