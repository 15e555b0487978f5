// SPDX-License-Identifier: Apache-2.0
import { Mapping } from 'gmem/kvm'
import {
  bytes,
  cases,
  describe,
  expect,
  guestMemfdFlag,
  pages,
  sharedGuestMemfd,
  tdp,
  test,
} from 'gmem/testing'
import { BASE, convertibleMemory, errnoOf, privateMemory } from './support/conversion.js'
import { hostAccesses, outsideOf } from './support/conversion-host-access.js'

// GUEST_MEMFD_FLAG_MMAP without INIT_SHARED: the file can be mapped, and all of it is private.
const PRIVATE_FILE = { mmap: true }
const needs = [guestMemfdFlag.mmap()]

const SHARED_FILE = { mmap: true, initShared: true }

/** Any port that no device of KVM answers: 0x510 is QEMU's firmware configuration, which is not here. */
const PORT = 0x510
const FOUR = { gpa: BASE, size: bytes(4) }

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

// kvm_read_guest() and kvm_write_guest() know userspace_addr only (virt/kvm/kvm_main.c), and string I/O is emulated with them.
describe('an access that KVM makes for the guest', () => {
  test('reads the shared copy of a private page', { needs: privateMemory }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fill(memory, 0xbb)

    const exit = await vcpu.attempt.outs(PORT, FOUR)

    expect(exit).toBeExit({ reason: 'IO', direction: 'out', port: PORT, data: Uint8Array.of(0xaa) })
  })

  test('writes the shared copy of a private page', { needs: privateMemory }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, 1, 0xaa)
    using vcpu = vm.createVcpu()
    vm.setPrivate(memory)
    await vcpu.fill(memory, 0xbb)

    await vcpu.attempt.ins(PORT, FOUR)
    const resumed = await vcpu.resume({ data: Uint8Array.of(1, 2, 3, 4) })

    expect(resumed).toBeDone()
    expect(memory.shared.read(bytes(0), 8)).toEqual(Uint8Array.of(1, 2, 3, 4, 0xaa, 0xaa, 0xaa, 0xaa))
    await expect(vcpu).toSeeFilledWith(0xbb, memory)
  })

  test('reads userspace_addr, not the guest_memfd that the guest itself sees', {
    needs: [sharedGuestMemfd, tdp],
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    using decoy = Mapping.anonymous(pages(1))
    decoy.fill(0x5a)
    const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: SHARED_FILE, userspace: decoy })
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xbb)

    const exit = await vcpu.attempt.outs(PORT, FOUR)

    expect(exit).toBeExit({ reason: 'IO', direction: 'out', port: PORT, data: Uint8Array.of(0x5a) })
  })

  test('is MMIO where the memslot has no userspace_addr', { needs: [sharedGuestMemfd, tdp] }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: SHARED_FILE, userspace: null })
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xbb)

    const exit = await vcpu.attempt.outs(PORT, FOUR)

    expect(exit).toBeExit({ reason: 'MMIO', gpa: BASE, isWrite: false, length: 1 })
    expect(await vcpu.resume({ data: 0x77n })).toBeExit({ reason: 'IO', data: Uint8Array.of(0x77) })
  })
})
