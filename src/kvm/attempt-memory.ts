// SPDX-License-Identifier: Apache-2.0
import type { Bytes, Gpa } from '../units.js'
import { type Execution, type Operation, type RunOptions, touching } from './execution.js'
import { type MonitorResult, OP, STATUS } from './monitor-protocol.js'
import type { Mismatch, Outcome } from './outcome.js'
import type { GpaRange } from './range.js'

/** The operations of a vCPU on guest memory; see Attempt. */
export class MemoryAttempt {
  readonly #execution: Execution

  constructor(execution: Execution) {
    this.#execution = execution
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
    return this.run(
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
    return this.run(
      { name: 'compareExchange64', op: OP.CMPXCHG, args, touches: qwordAt(gpa), decode },
      options,
    )
  }

  /** lock xadd of a u64: what was there before. */
  fetchAdd64(gpa: Gpa, addend: bigint, options?: RunOptions): Promise<Outcome<bigint>> {
    const args = [gpa, BigInt.asUintN(64, addend)]
    return this.run({ name: 'fetchAdd64', op: OP.XADD, args, touches: qwordAt(gpa), decode: first }, options)
  }

  /** `lock xadd 1`, so many times: how many it did. */
  increment64(gpa: Gpa, times: bigint, options?: RunOptions): Promise<Outcome<bigint>> {
    const args = [gpa, times]
    return this.run(
      { name: 'increment64', op: OP.SPIN_XADD, args, touches: qwordAt(gpa), decode: first },
      options,
    )
  }

  /** Waits in the guest until the qword is not `value`: what it became. */
  waitChange(gpa: Gpa, value: bigint, options?: RunOptions): Promise<Outcome<bigint>> {
    const args = [gpa, value]
    return this.run(
      { name: 'waitChange', op: OP.WAIT_CHANGE, args, touches: qwordAt(gpa), decode: first },
      options,
    )
  }

  #read<T>(
    name: string,
    gpa: Gpa,
    width: bigint,
    decode: Decode<T>,
    options?: RunOptions,
  ): Promise<Outcome<T>> {
    return this.run({ name, op: OP.READ, args: [gpa, width], touches: qwordAt(gpa), decode }, options)
  }

  #write(name: string, gpa: Gpa, width: bigint, value: bigint, options?: RunOptions): Promise<Outcome<null>> {
    return this.run(
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
    return this.run(
      { name, op, args: [range.gpa, range.size, extra], touches: touching(range), decode },
      options,
    )
  }

  protected run<T>(operation: Operation<T>, options?: RunOptions): Promise<Outcome<T>> {
    return this.#execution.run(operation, options)
  }
}

/** How an operation's value is taken from what the monitor left. */
export type Decode<T> = (result: MonitorResult) => T

/** No value. */
export const nothing: Decode<null> = () => null
/** r0. */
export const first: Decode<bigint> = ({ values }) => values[0]
/** r0, of at most 32 bits. */
export const narrow: Decode<number> = ({ values }) => Number(values[0])

/** What an access at a gpa touches at most. */
export function qwordAt(gpa: bigint): readonly { readonly gpa: bigint; readonly size: bigint }[] {
  return [{ gpa, size: 8n }]
}

function mismatch(result: MonitorResult, expected: bigint): Mismatch | null {
  if (result.status !== STATUS.MISMATCH) return null
  return { gpa: result.values[0], expected, actual: result.values[1] }
}
