// SPDX-License-Identifier: Apache-2.0
import { afterEach, expect, test } from 'vitest'
import { Machine } from './machine.js'
import { Scope } from './support.js'

const scope = new Scope()
afterEach(() => scope.close())

test('ioctls are issued on the vCPU’s thread, and write back', async () => {
  const KVM_GET_DEBUGREGS = 0x8080_aea1
  const KVM_SET_DEBUGREGS = 0x4080_aea2
  const { vcpu } = await new Machine(scope).vcpu(scope)
  const debugRegs = new Uint8Array(128)
  vcpu.ioctl(KVM_GET_DEBUGREGS, debugRegs)
  debugRegs.set([0x34, 0x12], 0)
  vcpu.ioctl(KVM_SET_DEBUGREGS, debugRegs)
  const readBack = new Uint8Array(128)

  expect(vcpu.ioctl(KVM_GET_DEBUGREGS, readBack)).toBe(0)

  expect(readBack).toEqual(debugRegs)
})

test('registers come back as they were set', async () => {
  const { vcpu } = await new Machine(scope).vcpu(scope)
  const regs = vcpu.getRegs()
  regs.set([0xef, 0xbe, 0xad, 0xde], 0)

  vcpu.setRegs(regs)

  expect(vcpu.getRegs()).toEqual(regs)
  expect(vcpu.getSregs()).toHaveLength(312)
})

test('statistics have names and values', async () => {
  const { vcpu } = await new Machine(scope).vcpu(scope)

  expect(vcpu.stats().exits).toEqual([expect.any(BigInt)])
  expect(vcpu.stats().halt_wait_hist).toHaveLength(32)
})
