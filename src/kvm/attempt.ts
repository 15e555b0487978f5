// SPDX-License-Identifier: Apache-2.0
import { KVM_HC_MAP_GPA_RANGE } from '../abi/index.js'
import type { Bytes, Gpa } from '../units.js'
import { type Execution, type Operation, type RunOptions, touching } from './execution.js'
import { type MonitorResult, OP, STATUS } from './monitor-protocol.js'
import type { Mismatch, Outcome } from './outcome.js'
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
export class Attempt {
  readonly #execution: Execution

  constructor(execution: Execution) {
    this.#execution = execution
  }

  /** Enters the guest and comes back: what the monitor does when it does nothing. */
  nop(options?: RunOptions): Promise<Outcome<null>> {
    return this.#run({ name: 'nop', op: OP.NOP, args: [], decode: nothing }, options)
  }

  /** Loads one byte. */
  read8(gpa: Gpa, options?: RunOptions): Promise<Outcome<number>> {
    return this.#read('read8', gpa, 1n, narrow, options)
  }

  /** Loads a u16. */
  read16(gpa: Gpa, options?: RunOptions): Promise<Outcome<number>> {
    return this.#read('read16', gpa, 2n, narrow, options)
  }

  /** Loads a u32. */
  read32(gpa: Gpa, options?: RunOptions): Promise<Outcome<number>> {
    return this.#read('read32', gpa, 4n, narrow, options)
  }

  /** Loads a u64. */
  read64(gpa: Gpa, options?: RunOptions): Promise<Outcome<bigint>> {
    return this.#read('read64', gpa, 8n, (result) => result.values[0], options)
  }

  /** Stores one byte. */
  write8(gpa: Gpa, value: number, options?: RunOptions): Promise<Outcome<null>> {
    return this.#write('write8', gpa, 1n, BigInt(value), options)
  }

  /** Stores a u16. */
  write16(gpa: Gpa, value: number, options?: RunOptions): Promise<Outcome<null>> {
    return this.#write('write16', gpa, 2n, BigInt(value), options)
  }

  /** Stores a u32. */
  write32(gpa: Gpa, value: number, options?: RunOptions): Promise<Outcome<null>> {
    return this.#write('write32', gpa, 4n, BigInt(value), options)
  }

  /** Stores a u64. */
  write64(gpa: Gpa, value: bigint, options?: RunOptions): Promise<Outcome<null>> {
    return this.#write('write64', gpa, 8n, value, options)
  }

  /** Sets every byte of a range (rep stosb). */
  fill(range: GpaRange, byte: number, options?: RunOptions): Promise<Outcome<null>> {
    return this.#overRange('fill', OP.FILL, range, BigInt(byte), nothing, options)
  }

  /** Compares every byte of a range: the first that is not `byte`, or null. */
  verify(range: GpaRange, byte: number, options?: RunOptions): Promise<Outcome<Mismatch | null>> {
    return this.#overRange(
      'verify',
      OP.VERIFY,
      range,
      BigInt(byte),
      (result) => mismatch(result, BigInt(byte)),
      options,
    )
  }

  /** Stores each qword's own gpa xor `seed` over a range of whole qwords. */
  fillPattern(range: GpaRange, seed: bigint, options?: RunOptions): Promise<Outcome<null>> {
    return this.#overRange('fillPattern', OP.FILL_PATTERN, range, seed, nothing, options)
  }

  /** The first qword of a range that is not its own gpa xor `seed`, or null. */
  verifyPattern(range: GpaRange, seed: bigint, options?: RunOptions): Promise<Outcome<Mismatch | null>> {
    const decode = (result: MonitorResult) => mismatch(result, result.values[0] ^ seed)
    return this.#overRange('verifyPattern', OP.VERIFY_PATTERN, range, seed, decode, options)
  }

  /** Copies guest memory (rep movsb). */
  copy(
    move: { readonly from: Gpa; readonly to: Gpa; readonly size: Bytes },
    options?: RunOptions,
  ): Promise<Outcome<null>> {
    const touches = [
      { gpa: move.from, size: move.size },
      { gpa: move.to, size: move.size },
    ]
    return this.#run(
      { name: 'copy', op: OP.COPY, args: [move.to, move.from, move.size], touches, decode: nothing },
      options,
    )
  }

  /** lock cmpxchg of a u64: what was there, and whether it was replaced. */
  compareExchange64(
    gpa: Gpa,
    exchange: { readonly expected: bigint; readonly desired: bigint },
    options?: RunOptions,
  ): Promise<Outcome<{ readonly old: bigint; readonly swapped: boolean }>> {
    const decode = ({ values }: MonitorResult) => ({ old: values[0], swapped: values[1] === 1n })
    const args = [gpa, exchange.expected, exchange.desired]
    return this.#run(
      { name: 'compareExchange64', op: OP.CMPXCHG, args, touches: qwordAt(gpa), decode },
      options,
    )
  }

  /** lock xadd of a u64: what was there before. */
  fetchAdd64(gpa: Gpa, addend: bigint, options?: RunOptions): Promise<Outcome<bigint>> {
    const args = [gpa, BigInt.asUintN(64, addend)]
    return this.#run({ name: 'fetchAdd64', op: OP.XADD, args, touches: qwordAt(gpa), decode: first }, options)
  }

  /** `lock xadd 1`, so many times: how many it did. */
  increment64(gpa: Gpa, times: bigint, options?: RunOptions): Promise<Outcome<bigint>> {
    const args = [gpa, times]
    return this.#run(
      { name: 'increment64', op: OP.SPIN_XADD, args, touches: qwordAt(gpa), decode: first },
      options,
    )
  }

  /** Waits in the guest until the qword is not `value`: what it became. */
  waitChange(gpa: Gpa, value: bigint, options?: RunOptions): Promise<Outcome<bigint>> {
    const args = [gpa, value]
    return this.#run(
      { name: 'waitChange', op: OP.WAIT_CHANGE, args, touches: qwordAt(gpa), decode: first },
      options,
    )
  }

  /** Calls code at a gpa: rax when it returns. */
  call(gpa: Gpa, options?: RunOptions): Promise<Outcome<bigint>> {
    return this.#run(
      { name: 'call', op: OP.CALL, args: [gpa], touches: qwordAt(gpa), decode: first },
      options,
    )
  }

  /** A KVM hypercall with up to four arguments: rax as a signed number. */
  hypercall(nr: bigint, args: readonly bigint[] = [], options?: RunOptions): Promise<Outcome<bigint>> {
    const decode = ({ values }: MonitorResult) => BigInt.asIntN(64, values[0])
    return this.#run({ name: 'hypercall', op: OP.HYPERCALL, args: [nr, ...args], decode }, options)
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
    return this.#run({ name: 'in', op: OP.IN, args, decode: narrow }, options)
  }

  /** Writes a port: normally an IO exit. */
  out(port: number, width: PortWidth, value: number, options?: RunOptions): Promise<Outcome<null>> {
    const args = [BigInt(port), BigInt(width), BigInt(value)]
    return this.#run({ name: 'out', op: OP.OUT, args, decode: nothing }, options)
  }

  /** rep insb into a range: KVM itself writes guest memory. */
  ins(port: number, range: GpaRange, options?: RunOptions): Promise<Outcome<null>> {
    const args = [BigInt(port), range.gpa, range.size]
    return this.#run({ name: 'ins', op: OP.INS, args, touches: touching(range), decode: nothing }, options)
  }

  /** rep outsb from a range: KVM itself reads guest memory. */
  outs(port: number, range: GpaRange, options?: RunOptions): Promise<Outcome<null>> {
    const args = [BigInt(port), range.gpa, range.size]
    return this.#run({ name: 'outs', op: OP.OUTS, args, touches: touching(range), decode: nothing }, options)
  }

  /** CPUID as the guest sees it. */
  cpuid(leaf: number, subleaf = 0, options?: RunOptions): Promise<Outcome<CpuidResult>> {
    const decode = ({ values }: MonitorResult) => {
      const [eax, ebx, ecx, edx] = values
      return { eax: Number(eax), ebx: Number(ebx), ecx: Number(ecx), edx: Number(edx) }
    }
    return this.#run({ name: 'cpuid', op: OP.CPUID, args: [BigInt(leaf), BigInt(subleaf)], decode }, options)
  }

  /** Reads an MSR; #GP is an EXCEPTION outcome. */
  rdmsr(index: number, options?: RunOptions): Promise<Outcome<bigint>> {
    return this.#run({ name: 'rdmsr', op: OP.RDMSR, args: [BigInt(index)], decode: first }, options)
  }

  /** Writes an MSR. */
  wrmsr(index: number, value: bigint, options?: RunOptions): Promise<Outcome<null>> {
    return this.#run({ name: 'wrmsr', op: OP.WRMSR, args: [BigInt(index), value], decode: nothing }, options)
  }

  /** Reloads cr3. */
  flushTlb(options?: RunOptions): Promise<Outcome<null>> {
    return this.#run({ name: 'flushTlb', op: OP.FLUSH_TLB, args: [], decode: nothing }, options)
  }

  #read<T>(
    name: string,
    gpa: Gpa,
    width: bigint,
    decode: Decode<T>,
    options?: RunOptions,
  ): Promise<Outcome<T>> {
    return this.#run({ name, op: OP.READ, args: [gpa, width], touches: qwordAt(gpa), decode }, options)
  }

  #write(name: string, gpa: Gpa, width: bigint, value: bigint, options?: RunOptions): Promise<Outcome<null>> {
    return this.#run(
      { name, op: OP.WRITE, args: [gpa, width, value], touches: qwordAt(gpa), decode: nothing },
      options,
    )
  }

  #overRange<T>(
    name: string,
    op: bigint,
    range: GpaRange,
    extra: bigint,
    decode: Decode<T>,
    options?: RunOptions,
  ): Promise<Outcome<T>> {
    return this.#run(
      { name, op, args: [range.gpa, range.size, extra], touches: touching(range), decode },
      options,
    )
  }

  #run<T>(operation: Operation<T>, options?: RunOptions): Promise<Outcome<T>> {
    return this.#execution.run(operation, options)
  }
}

type Decode<T> = (result: MonitorResult) => T

const nothing: Decode<null> = () => null
const first: Decode<bigint> = ({ values }) => values[0]
const narrow: Decode<number> = ({ values }) => Number(values[0])

function qwordAt(gpa: bigint): readonly { readonly gpa: bigint; readonly size: bigint }[] {
  return [{ gpa, size: 8n }]
}

function mismatch(result: MonitorResult, expected: bigint): Mismatch | null {
  if (result.status !== STATUS.MISMATCH) return null
  return { gpa: result.values[0], expected, actual: result.values[1] }
}
