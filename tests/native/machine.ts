// SPDX-License-Identifier: Apache-2.0
import type { NativeKvm, NativeMapping, NativeVcpu, NativeVm, RawExit } from '../../src/binding/addon.js'
import { addon, anonymous, qwords, type Scope } from './support.js'

/** The monitor's operations, by number (native/guest/operations.S). */
export const op = {
  nop: 0,
  read: 1,
  write: 2,
  fill: 3,
  verify: 4,
  copy: 5,
  cmpxchg: 6,
  xadd: 7,
  call: 8,
  hypercall: 9,
  spinRead: 10,
  spinWrite: 11,
  in: 12,
  out: 13,
  ins: 14,
  outs: 15,
  cpuid: 16,
  rdmsr: 17,
  wrmsr: 18,
  flushTlb: 19,
  fillPattern: 20,
  verifyPattern: 21,
  waitChange: 22,
  spinXadd: 23,
} as const

const BASE = 0x10_0000n
const REGION = 0x4_0000n
const COMMANDS = 0x1_0000n
export const DATA = 0x1000_0000n
export const DATA_SIZE = 0x20_0000n
const EXIT_IO = 2
const READY_PORT = 0x7e0

/** The result of a monitor operation. */
export interface Done {
  readonly status: bigint
  readonly r: readonly bigint[]
  readonly vector: bigint
  readonly errorCode: bigint
  readonly rip: bigint
  readonly cr2: bigint
}

/** One VM with the monitor in it and DATA_SIZE bytes of memory at DATA, in 2 MiB identity pages up to 1 GiB. */
export class Machine {
  readonly vm: NativeVm
  readonly data: NativeMapping
  readonly region: NativeMapping
  readonly #kvm: NativeKvm

  constructor(scope: Scope) {
    this.#kvm = scope.use(addon.openKvm('/dev/kvm'))
    this.vm = scope.use(this.#kvm.createVm(0n))
    this.region = anonymous(scope, REGION)
    this.data = anonymous(scope, DATA_SIZE)
    this.region.write(0n, addon.monitor)
    this.region.write(0x4000n, qwords(0n, 0x00af_9a00_0000_ffffn, 0x00cf_9200_0000_ffffn))
    const gates = Array.from({ length: 32 }, (_, vector) => BASE + 0x800n + 16n * BigInt(vector))
    this.region.write(
      0x5000n,
      qwords(
        ...gates.flatMap((stub) => [
          (stub & 0xffffn) | (8n << 16n) | (0x8en << 40n) | ((stub >> 16n) << 48n),
          stub >> 32n,
        ]),
      ),
    )
    this.region.write(0x6000n, qwords(BASE + 0x7003n))
    this.region.write(0x7000n, qwords(BASE + 0x8003n))
    this.region.write(
      0x8000n,
      qwords(...Array.from({ length: 512 }, (_, index) => (BigInt(index) << 21n) | 0x83n)),
    )
    this.vm.setUserMemoryRegion(0, 0, BASE, REGION, this.region.address)
    this.vm.setUserMemoryRegion(1, 0, DATA, DATA_SIZE, this.data.address)
  }

  /** A vCPU that has said "ready" once. */
  async vcpu(scope: Scope, id = 0): Promise<Guest> {
    const vcpu = scope.use(this.vm.createVcpu(id))
    vcpu.setCpuid2(this.#kvm.supportedCpuid())
    vcpu.setSregs(longMode(vcpu.getSregs()))
    const page = COMMANDS + 0x2000n * BigInt(id)
    const regs = new BigUint64Array(18)
    regs.set([BASE + page, BASE + page + 0x2000n], 5)
    regs.set([BASE, 2n], 16)
    vcpu.setRegs(new Uint8Array(regs.buffer))
    const guest = new Guest(vcpu, this.region, page)
    guest.expectReady(await vcpu.run(5000))
    return guest
  }
}

/** A vCPU that runs the monitor. */
export class Guest {
  readonly vcpu: NativeVcpu
  readonly #region: NativeMapping
  readonly #page: bigint

  constructor(vcpu: NativeVcpu, region: NativeMapping, page: bigint) {
    this.vcpu = vcpu
    this.#region = region
    this.#page = page
  }

  request(op: number, ...args: bigint[]): void {
    this.#region.write(this.#page, qwords(BigInt(op), ...args))
    this.#region.write(this.#page + 0x88n, qwords(0n, 0n))
    this.#region.write(this.#page + 0xa0n, qwords(1n))
  }

  async perform(op: number, ...args: bigint[]): Promise<Done> {
    this.request(op, ...args)
    this.expectReady(await this.vcpu.run(5000))
    return this.done()
  }

  done(): Done {
    const words = new BigUint64Array(this.#region.read(this.#page, 0xb0).buffer)
    const word = (offset: number) => words[offset / 8] ?? 0n
    return {
      status: word(0x40),
      r: [word(0x48), word(0x50), word(0x58), word(0x60)],
      vector: word(0x68),
      errorCode: word(0x70),
      rip: word(0x78),
      cr2: word(0x80),
    }
  }

  stop(): void {
    this.#region.write(this.#page + 0x88n, qwords(1n))
  }

  progress(): bigint {
    return new BigUint64Array(this.#region.read(this.#page + 0x90n, 8).buffer)[0] ?? 0n
  }

  async untilProgress(): Promise<void> {
    const limit = Date.now() + 5000
    while (this.progress() === 0n) {
      if (Date.now() > limit) throw new Error('the vCPU makes no progress')
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }

  expectReady(exit: RawExit): void {
    const port = new DataView(exit.payload.buffer).getUint16(2, true)
    if (exit.exitReason !== EXIT_IO || port !== READY_PORT) {
      throw new Error(`not ready but exit ${exit.exitReason}, ${exit.code}, port 0x${port.toString(16)}`)
    }
  }
}

function longMode(sregs: Uint8Array): Uint8Array {
  const view = new DataView(sregs.buffer)
  const segment = (index: number, selector: number, type: number, long: number) => {
    const at = index * 24
    view.setBigUint64(at, 0n, true)
    view.setUint32(at + 8, 0xffff_ffff, true)
    view.setUint16(at + 12, selector, true)
    for (const [offset, value] of [type, 1, 0, 1 - long, 1, long, 1, 0, 0].entries())
      view.setUint8(at + 14 + offset, value)
  }
  segment(0, 8, 0xb, 1)
  for (const index of [1, 2, 3, 4, 5]) segment(index, 16, 3, 0)
  view.setBigUint64(192, BASE + 0x4000n, true)
  view.setUint16(200, 23, true)
  view.setBigUint64(208, BASE + 0x5000n, true)
  view.setUint16(216, 511, true)
  view.setBigUint64(224, 0x8005_0033n, true)
  view.setBigUint64(240, BASE + 0x6000n, true)
  view.setBigUint64(248, 0x620n, true)
  view.setBigUint64(264, 0xd00n, true)
  return sregs
}
