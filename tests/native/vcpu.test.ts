// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DATA, type Guest, Machine, op } from './machine.js'
import { qwords, Scope } from './support.js'

const OK = 0n
const EXCEPTION = 1n
const MISMATCH = 2n

const scope = new Scope()
let machine: Machine
let guest: Guest
beforeEach(async () => {
  machine = new Machine(scope)
  guest = await machine.vcpu(scope)
})
afterEach(() => scope.close())

describe('memory', () => {
  test.each([
    [1n, 0x88n],
    [2n, 0x7788n],
    [4n, 0x5566_7788n],
    [8n, 0x1122_3344_5566_7788n],
  ])('READ of %i bytes', async (width, value) => {
    machine.data.write(0x100n, qwords(0x1122_3344_5566_7788n))

    const done = await guest.perform(op.read, DATA + 0x100n, width)

    expect(done).toMatchObject({ status: OK, r: [value, 0n, 0n, 0n] })
  })

  test.each([
    [1n, 0x88n],
    [2n, 0x7788n],
    [4n, 0x5566_7788n],
    [8n, 0x1122_3344_5566_7788n],
  ])('WRITE of %i bytes', async (width, value) => {
    const done = await guest.perform(op.write, DATA + 0x100n, width, 0x1122_3344_5566_7788n)

    expect(done.status).toBe(OK)
    expect(machine.data.read(0x100n, 16)).toEqual(qwords(value, 0n))
  })

  test('FILL fills the range and nothing else', async () => {
    await guest.perform(op.fill, DATA + 3n, 4096n, 0x5an)

    expect(machine.data.findMismatch(3n, 4096n, 0x5a)).toBeNull()
    expect(machine.data.read(2n, 1)).toEqual(Uint8Array.of(0))
    expect(machine.data.read(4099n, 1)).toEqual(Uint8Array.of(0))
  })

  test.each([0n, 5n, 8n, 20n, 22n])('VERIFY finds the wrong byte at %i of 23', async (at) => {
    machine.data.fill(0x11n, 23n, 0x5a)
    machine.data.write(0x11n + at, Uint8Array.of(0xda))

    const done = await guest.perform(op.verify, DATA + 0x11n, 23n, 0x5an)

    expect(done).toMatchObject({ status: MISMATCH, r: [DATA + 0x11n + at, 0xdan, 0n, 0n] })
  })

  test('VERIFY of what is as it should be, and of nothing, is OK', async () => {
    machine.data.fill(0x11n, 23n, 0x5a)

    expect((await guest.perform(op.verify, DATA + 0x11n, 23n, 0x5an)).status).toBe(OK)
    expect((await guest.perform(op.verify, DATA, 0n, 0x5an)).status).toBe(OK)
  })

  test('COPY', async () => {
    machine.data.fill(0n, 100n, 7)

    await guest.perform(op.copy, DATA + 0x1001n, DATA, 99n)

    expect(machine.data.findMismatch(0x1001n, 99n, 7)).toBeNull()
    expect(machine.data.read(0x1064n, 1)).toEqual(Uint8Array.of(0))
  })

  test('CMPXCHG swaps where the value is the expected one, and only there', async () => {
    machine.data.write(0n, qwords(5n))

    expect((await guest.perform(op.cmpxchg, DATA, 6n, 7n)).r).toEqual([5n, 0n, 0n, 0n])
    expect(machine.data.read(0n, 8)).toEqual(qwords(5n))
    expect((await guest.perform(op.cmpxchg, DATA, 5n, 7n)).r).toEqual([5n, 1n, 0n, 0n])
    expect(machine.data.read(0n, 8)).toEqual(qwords(7n))
  })

  test('XADD returns the old value', async () => {
    machine.data.write(0n, qwords(5n))

    expect((await guest.perform(op.xadd, DATA, 37n)).r[0]).toBe(5n)
    expect(machine.data.read(0n, 8)).toEqual(qwords(42n))
  })

  test('FILL_PATTERN stores gpa ^ seed, VERIFY_PATTERN finds what differs', async () => {
    await guest.perform(op.fillPattern, DATA + 8n, 4096n, 0xffn)

    expect(machine.data.read(8n, 16)).toEqual(qwords((DATA + 8n) ^ 0xffn, (DATA + 16n) ^ 0xffn))
    expect((await guest.perform(op.verifyPattern, DATA + 8n, 4096n, 0xffn)).status).toBe(OK)
    machine.data.write(4096n, qwords(1n))
    expect(await guest.perform(op.verifyPattern, DATA + 8n, 4096n, 0xffn)).toMatchObject({
      status: MISMATCH,
      r: [DATA + 4096n, 1n, 0n, 0n],
    })
  })
})

describe('the CPU', () => {
  test('CALL returns rax of the code called', async () => {
    const movEax1234Ret = Uint8Array.of(0xb8, 0x34, 0x12, 0, 0, 0xc3)
    machine.data.write(0n, movEax1234Ret)

    expect(await guest.perform(op.call, DATA)).toMatchObject({ status: OK, r: [0x1234n, 0n, 0n, 0n] })
  })

  test('an exception in called code that has clobbered every register is reported, and the monitor goes on', async () => {
    const xorR15Ud2 = Uint8Array.of(0x4d, 0x31, 0xff, 0x0f, 0x0b)
    machine.data.write(0n, xorR15Ud2)
    const UD = 6n

    expect(await guest.perform(op.call, DATA)).toMatchObject({
      status: EXCEPTION,
      vector: UD,
      errorCode: 0n,
      rip: DATA + 3n,
    })
    expect((await guest.perform(op.nop)).status).toBe(OK)
  })

  test('a page fault is reported with vector 14, its error code, cr2', async () => {
    const PF = 14n
    const WRITE = 2n
    const unmapped = 0x80_0000_0000n

    expect(await guest.perform(op.write, unmapped, 8n, 0n)).toMatchObject({
      status: EXCEPTION,
      vector: PF,
      errorCode: WRITE,
      cr2: unmapped,
    })
  })

  test('an MSR that does not exist is #GP with error code 0', async () => {
    const GP = 13n

    expect(await guest.perform(op.rdmsr, 0xdead_beefn)).toMatchObject({
      status: EXCEPTION,
      vector: GP,
      errorCode: 0n,
    })
  })

  test('an operation that does not exist is exception 0xff', async () => {
    expect(await guest.perform(24)).toMatchObject({ status: EXCEPTION, vector: 0xffn })
    expect(await guest.perform(-1)).toMatchObject({ status: EXCEPTION, vector: 0xffn })
  })

  test('WRMSR and RDMSR carry 64 bits', async () => {
    const KERNEL_GS_BASE = 0xc000_0102n

    await guest.perform(op.wrmsr, KERNEL_GS_BASE, 0x1234_5678_9abcn)

    expect((await guest.perform(op.rdmsr, KERNEL_GS_BASE)).r[0]).toBe(0x1234_5678_9abcn)
  })

  test('CPUID returns the four registers that KVM_SET_CPUID2 was given', async () => {
    const { r } = await guest.perform(op.cpuid, 0x4000_0000n, 0n)
    const signature = new TextDecoder().decode(qwords(...r).filter((_, index) => index >= 8 && index % 8 < 4))

    expect(signature).toBe('KVMKVMKVM\0\0\0')
  })

  test('HYPERCALL returns what KVM says: -KVM_ENOSYS for a number that does not exist', async ({ skip }) => {
    skip(
      existsSync('/sys/module/kvm_pvm'),
      'kvm_pvm knows neither VMCALL nor VMMCALL: the vCPU stays at the instruction',
    )
    const KVM_ENOSYS = 1000n

    expect((await guest.perform(op.hypercall, 0xffffn)).r[0]).toBe(BigInt.asUintN(64, -KVM_ENOSYS))
  })

  test('FLUSH_TLB comes back', async () => {
    expect((await guest.perform(op.flushTlb)).status).toBe(OK)
  })
})

describe('two vCPUs at once', () => {
  test('lock xadd of both loses nothing', async () => {
    const other = await machine.vcpu(scope, 1)
    const each = 20_000n

    await Promise.all([guest.perform(op.spinXadd, DATA, each), other.perform(op.spinXadd, DATA, each)])

    expect(machine.data.read(0n, 8)).toEqual(qwords(2n * each))
  })

  test('WAIT_CHANGE sees the other one’s write', async () => {
    const other = await machine.vcpu(scope, 1)
    const waiting = guest.perform(op.waitChange, DATA, 0n)
    await guest.untilProgress()

    await other.perform(op.write, DATA, 8n, 9n)

    expect((await waiting).r[0]).toBe(9n)
  })
})
