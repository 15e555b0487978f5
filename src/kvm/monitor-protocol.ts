// SPDX-License-Identifier: Apache-2.0
import type { NativeMapping } from '../binding/addon.js'
import type { Exit } from './exits.js'

/** Operations of the guest monitor (native/guest/monitor.S). */
export const OP = {
  NOP: 0n,
  READ: 1n,
  WRITE: 2n,
  FILL: 3n,
  VERIFY: 4n,
  COPY: 5n,
  CMPXCHG: 6n,
  XADD: 7n,
  CALL: 8n,
  HYPERCALL: 9n,
  SPIN_READ: 10n,
  SPIN_WRITE: 11n,
  IN: 12n,
  OUT: 13n,
  INS: 14n,
  OUTS: 15n,
  CPUID: 16n,
  RDMSR: 17n,
  WRMSR: 18n,
  FLUSH_TLB: 19n,
  FILL_PATTERN: 20n,
  VERIFY_PATTERN: 21n,
  WAIT_CHANGE: 22n,
  SPIN_XADD: 23n,
} as const

/** Values of the status field. */
export const STATUS = { OK: 0n, EXCEPTION: 1n, MISMATCH: 2n } as const

const REPORT_PORT = 0x7e0
const REPORT_MAGIC = 0x676d_656d

const OFFSET = {
  op: 0x00,
  args: 0x08,
  status: 0x40,
  stop: 0x88,
  progress: 0x90,
  savedRsp: 0x98,
  useVmmcall: 0xa0,
}
const RESULT_BYTES = OFFSET.stop - OFFSET.status

/** What the monitor left in the command page. */
export interface MonitorResult {
  readonly status: bigint
  /** r0..r3. */
  readonly values: readonly [bigint, bigint, bigint, bigint]
  readonly vector: number
  readonly errorCode: bigint
  readonly rip: bigint
  readonly cr2: bigint
}

/** True for the exit by which the monitor says "ready" or "complete". */
export function isReport(exit: Exit): boolean {
  if (exit.reason !== 'IO' || exit.direction !== 'out' || exit.port !== REPORT_PORT || exit.data.length !== 4)
    return false
  return viewOf(exit.data).getUint32(0, true) === REPORT_MAGIC
}

/** The shared page through which one vCPU takes commands. */
export class CommandPage {
  readonly #region: NativeMapping
  readonly #offset: bigint
  readonly #head = new Uint8Array(OFFSET.savedRsp)
  readonly #words = new BigUint64Array(this.#head.buffer)

  constructor(region: NativeMapping, offset: bigint, useVmmcall: boolean) {
    this.#region = region
    this.#offset = offset
    this.#store(OFFSET.useVmmcall, useVmmcall ? 1n : 0n)
  }

  /** Lays down the next command and clears results, stop flag and progress. */
  command(op: bigint, args: readonly bigint[]): void {
    // Everything before the guest's own saved rsp, in one write.
    this.#words.fill(0n)
    this.#words[OFFSET.op / 8] = op
    this.#words.set(args, OFFSET.args / 8)
    this.#region.write(this.#offset, this.#head)
  }

  result(): MonitorResult {
    const bytes = this.#region.read(this.#offset + BigInt(OFFSET.status), RESULT_BYTES)
    const words = new BigUint64Array(bytes.buffer, bytes.byteOffset, RESULT_BYTES / 8)
    const [status = 0n, r0 = 0n, r1 = 0n, r2 = 0n, r3 = 0n, vector = 0n, errorCode = 0n, rip = 0n, cr2 = 0n] =
      words
    return { status, values: [r0, r1, r2, r3], vector: Number(vector), errorCode, rip, cr2 }
  }

  /** Makes a spinning operation end at its next pass. */
  stop(): void {
    this.#store(OFFSET.stop, 1n)
  }

  /** Passes of a spinning operation so far. */
  progress(): bigint {
    return viewOf(this.#region.read(this.#offset + BigInt(OFFSET.progress), 8)).getBigUint64(0, true)
  }

  #store(offset: number, value: bigint): void {
    const data = new Uint8Array(8)
    viewOf(data).setBigUint64(0, value, true)
    this.#region.write(this.#offset + BigInt(offset), data)
  }
}

function viewOf(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength)
}
