// SPDX-License-Identifier: Apache-2.0
import { bytes, cases, describe, expect, guestMemfdFlag, pages, tdp, test } from 'gmem/testing'
import { BASE, errnoOf } from './support/conversion.js'
import { hostAccesses, outsideOf } from './support/conversion-host-access.js'

// GUEST_MEMFD_FLAG_MMAP without INIT_SHARED: the file can be mapped, and all of it is private.
const PRIVATE_FILE = { mmap: true }
const needs = [guestMemfdFlag.mmap()]

const types = [
  { type: 'DEFAULT', needs },
  { type: 'SW_PROTECTED', needs: [guestMemfdFlag.mmap('SW_PROTECTED')] },
] as const

describe('a private page that is mapped', () => {
  cases(
    types,
    ({ type }) => `raises SIGBUS at the exact address of a load or store, in a ${type} VM`,
    (row) => ({ needs: row.needs }),
    ({ kvm }, { type }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(2), flags: PRIVATE_FILE })
      const mapping = file.mmap()
      const last = bytes(8191)

      const sigbusAt = (offset: bigint) => ({ code: 'BUS_ADRERR', address: mapping.hva + offset })

      expect(mapping.probe(bytes(0))).toBeSignal('SIGBUS', sigbusAt(0n))
      expect(mapping.probe(bytes(4104))).toBeSignal('SIGBUS', sigbusAt(4104n))
      expect(mapping.probe(last, 1)).toBeSignal('SIGBUS', sigbusAt(last))
      expect(mapping.probeWrite(bytes(0), 7n)).toBeSignal('SIGBUS', sigbusAt(0n))
      expect(mapping.probeWrite(last, 7n, 1)).toBeSignal('SIGBUS', sigbusAt(last))
    },
  )

  cases(
    types,
    ({ type }) => `raises SIGBUS once it is allocated, and once it is a hole again, in a ${type} VM`,
    (row) => ({ needs: row.needs }),
    ({ kvm }, { type }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(1), flags: PRIVATE_FILE })
      const mapping = file.mmap()

      file.allocate()
      const allocated = mapping.probe(bytes(0))
      file.punchHole()
      const punched = mapping.probe(bytes(0))

      expect(allocated).toBeSignal('SIGBUS', { code: 'BUS_ADRERR', address: mapping.hva })
      expect(punched).toBeSignal('SIGBUS', { code: 'BUS_ADRERR', address: mapping.hva })
    },
  )

  test('raises SIGBUS in a child process', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(1), flags: PRIVATE_FILE })
    const mapping = file.mmap()
    file.allocate()

    const read = mapping.forkProbe(bytes(16))
    const written = mapping.forkProbe(bytes(16), { write: 7n })

    expect(read).toBeSignal('SIGBUS', { code: 'BUS_ADRERR', address: mapping.hvaOf(bytes(16)) })
    expect(written).toBeSignal('SIGBUS', { code: 'BUS_ADRERR', address: mapping.hvaOf(bytes(16)) })
  })

  test('stays private when the guest’s attribute says shared', {
    needs: [guestMemfdFlag.mmap('SW_PROTECTED')],
  }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: PRIVATE_FILE })
    vm.setPrivate(memory)

    vm.setShared(memory)

    // It is the file's flag that decides for the host; the attribute decides for the guest.
    expect(memory.shared.probe(bytes(0))).toBeSignal('SIGBUS', { code: 'BUS_ADRERR' })
  })

  cases(
    hostAccesses,
    ({ what, refusal }) => `refuses ${what} with ${refusal}, and gives no byte`,
    (row) => ({ needs: [...needs, ...(row.needs ?? [])] }),
    ({ kvm, defer }, { run, refusal }) => {
      using vm = kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(1), flags: PRIVATE_FILE })
      file.allocate()
      const mapping = file.mmap()
      const outside = outsideOf(0x5a)
      defer(() => outside.close())

      expect(() => run(mapping, outside)).toFailWith(refusal)

      expect(outside.mapping).toBeFilledWith(0x5a)
    },
  )

  test('gives what the guest wrote to nobody, and takes nothing from anybody', {
    needs: [...needs, tdp],
  }, async ({ kvm, defer }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: PRIVATE_FILE })
    const outside = outsideOf(0x5a)
    defer(() => outside.close())
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xbb)

    const everywhere = hostAccesses.filter((access) => access.needs === undefined)
    const errnos = everywhere.map(({ run }) => errnoOf(() => run(memory.shared, outside)))

    expect(errnos).toEqual(everywhere.map(({ refusal }) => refusal))
    expect(memory.shared.probe(bytes(0))).toBeSignal('SIGBUS')
    expect(memory.shared.probeWrite(bytes(0), 7n)).toBeSignal('SIGBUS')
    expect(outside.mapping).toBeFilledWith(0x5a)
    await expect(vcpu).toSeeFilledWith(0xbb, memory)
  })
})
