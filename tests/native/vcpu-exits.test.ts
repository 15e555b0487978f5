// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DATA, type Guest, Machine, op } from './machine.js'
import { qwords, Scope } from './support.js'

const OK = 0n
const EXIT_IO = 2
const EXIT_MMIO = 6
const IO_IN = 0
const IO_OUT = 1

const scope = new Scope()
let machine: Machine
let guest: Guest
beforeEach(async () => {
  machine = new Machine(scope)
  guest = await machine.vcpu(scope)
})
afterEach(() => scope.close())

describe('exits in the middle of an operation', () => {
  test.each([1, 2, 4])('OUT of %i bytes brings them in ioData', async (width) => {
    guest.request(op.out, 0x80n, BigInt(width), 0x1122_3344n)

    const exit = await guest.vcpu.run(1000)

    expect(exit).toMatchObject({ ret: 0, errno: 0, code: '', exitReason: EXIT_IO })
    expect([...exit.payload.slice(0, 4)]).toEqual([IO_OUT, width, 0x80, 0])
    expect(exit.ioData).toEqual(Uint8Array.of(0x44, 0x33, 0x22, 0x11).slice(0, width))
    guest.expectReady(await guest.vcpu.run(1000))
    expect(guest.done().status).toBe(OK)
  })

  test('IN gets what is written to kvm_run at data_offset', async () => {
    guest.request(op.in, 0x80n, 4n)
    const exit = await guest.vcpu.run(1000)
    const dataOffset = Number(new DataView(exit.payload.buffer).getBigUint64(8, true))

    guest.vcpu.writeRun(dataOffset, Uint8Array.of(1, 2, 3, 4))

    expect([...exit.payload.slice(0, 4)]).toEqual([IO_IN, 4, 0x80, 0])
    guest.expectReady(await guest.vcpu.run(1000))
    expect(guest.done().r[0]).toBe(0x0403_0201n)
  })

  test('OUTS sends all bytes in order, in however many exits', async () => {
    machine.data.write(
      0n,
      Uint8Array.from({ length: 40 }, (_, index) => index),
    )
    guest.request(op.outs, 0x80n, DATA, 40n)

    const sent = await portBytes(IO_OUT)

    expect(sent).toEqual(Array.from({ length: 40 }, (_, index) => index))
  })

  test('INS stores all bytes in order, in however many exits', async () => {
    guest.request(op.ins, 0x80n, DATA, 40n)

    await portBytes(IO_IN)

    expect(machine.data.read(0n, 41)).toEqual(
      Uint8Array.from({ length: 41 }, (_, index) => (index < 40 ? index + 1 : 0)),
    )
  })

  test('a read where no memslot is exits as MMIO and gets what is written to kvm_run', async () => {
    const gpa = 0x2000_0000n
    guest.request(op.read, gpa, 8n)
    const exit = await guest.vcpu.run(1000)
    const MMIO_DATA = 32 + 8

    guest.vcpu.writeRun(MMIO_DATA, qwords(0x1122_3344_5566_7788n))

    expect(exit.exitReason).toBe(EXIT_MMIO)
    expect(exit.payload.slice(0, 8)).toEqual(qwords(gpa))
    guest.expectReady(await guest.vcpu.run(1000))
    expect(guest.done().r[0]).toBe(0x1122_3344_5566_7788n)
  })

  test('readRun sees the exit reason; outside kvm_run is a RangeError', async () => {
    guest.request(op.out, 0x80n, 1n, 0n)
    await guest.vcpu.run(1000)

    expect(guest.vcpu.readRun(8, 4)).toEqual(Uint8Array.of(EXIT_IO, 0, 0, 0))
    expect(() => guest.vcpu.readRun(1 << 20, 1)).toThrow(RangeError)
    expect(() => guest.vcpu.writeRun(1 << 20, Uint8Array.of(1))).toThrow(RangeError)
  })
})

/** Serves the port until the operation is complete: what was sent, or 1, 2, 3, ... for the guest to read. */
async function portBytes(direction: number): Promise<number[]> {
  const bytes: number[] = []
  for (let exits = 0; exits < 100; exits += 1) {
    const exit = await guest.vcpu.run(1000)
    const view = new DataView(exit.payload.buffer)
    if (view.getUint16(2, true) !== 0x80) {
      guest.expectReady(exit)
      return bytes
    }
    expect(exit).toMatchObject({ exitReason: EXIT_IO })
    expect(exit.payload[0]).toBe(direction)
    if (direction === IO_OUT) {
      bytes.push(...exit.ioData)
    } else {
      const next = exit.ioData.map((_, index) => bytes.length + index + 1)
      guest.vcpu.writeRun(Number(view.getBigUint64(8, true)), next)
      bytes.push(...next)
    }
  }
  throw new Error('the operation does not complete')
}
