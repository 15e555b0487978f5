// SPDX-License-Identifier: Apache-2.0
import { KVM_MAP_GPA_RANGE_ENCRYPTED, VECTOR } from 'gmem/abi'
import {
  bytes,
  describe,
  expect,
  gpa,
  guestMemfd,
  hypercalls,
  memoryAttribute,
  not,
  pages,
  sharedGuestMemfd,
  tdp,
  test,
  vmType,
} from 'gmem/testing'

const BASE = gpa(0x1000_0000)

describe('a DEFAULT VM', () => {
  test('a guest reads what the host wrote into a mapped guest_memfd', { needs: [sharedGuestMemfd] }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(16), guestMemfd: { mmap: true, initShared: true } })
    using vcpu = vm.createVcpu()

    memory.fillPattern(0x5eedn)

    await expect(vcpu).toSeePattern(0x5eedn, memory)
  })

  test('the host reads what a guest wrote into a mapped guest_memfd', { needs: [sharedGuestMemfd] }, async ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(512), guestMemfd: { mmap: true, initShared: true } })
    using vcpu = vm.createVcpu()

    await vcpu.fill(memory.range(pages(7), pages(2)), 0xbb)

    expect(memory.shared).toBeFilledWith(0xbb, memory.range(pages(7), pages(2)))
    expect(memory.shared).toBeFilledWith(0, memory.range(pages(9), pages(503)))
  })

  test('a punched page reads zero in the guest and leaves its neighbours alone', {
    needs: [sharedGuestMemfd],
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(3), guestMemfd: { mmap: true, initShared: true } })
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xcc)

    memory.punchHole(memory.range(pages(1), pages(1)))

    await expect(vcpu).toSeeFilledWith(0xcc, memory.range(pages(0), pages(1)))
    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(1), pages(1)))
    await expect(vcpu).toSeeFilledWith(0xcc, memory.range(pages(2), pages(1)))
  })

  test('a guest_memfd whose last fd is closed faults with its gpa', {
    needs: [sharedGuestMemfd, tdp],
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({
      gpa: BASE,
      size: pages(4),
      guestMemfd: { mmap: true },
      userspace: 'backing',
    })
    using vcpu = vm.createVcpu()

    memory.guestMemfd.close()

    const outcome = await vcpu.attempt.read64(memory.gpaOf(bytes(0x2008)))
    expect(outcome).toBeMemoryFault({
      gpa: memory.gpaOf(pages(2)),
      size: pages(1),
      private: false,
      code: 'EFAULT',
    })
  })

  test('the host cannot touch a mapped guest_memfd made without INIT_SHARED', {
    needs: [sharedGuestMemfd],
  }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(2), flags: { mmap: true } })

    const mapping = file.mmap()

    expect(mapping.probe(pages(1))).toBeSignal('SIGBUS', {
      code: 'BUS_ADRERR',
      address: mapping.hvaOf(pages(1)),
    })
    expect(mapping.probeWrite(pages(1), 1n)).toBeSignal('SIGBUS', { code: 'BUS_ADRERR' })
  })

  test('a size that is not a multiple of the page size is refused', { needs: [guestMemfd()] }, ({ kvm }) => {
    using vm = kvm.createVm()

    expect(() => vm.createGuestMemfd({ size: bytes(4097) })).toFailWith('EINVAL', 'KVM_CREATE_GUEST_MEMFD')
    expect(vm.createGuestMemfd({ size: pages(1) }).stat().size).toBe(pages(1))
  })

  test('PRIVATE is no attribute of it', { needs: [memoryAttribute.private] }, ({ kvm }) => {
    using vm = kvm.createVm()

    expect(() => vm.setPrivate({ gpa: BASE, size: pages(1) })).toFailWith(
      'EINVAL',
      'KVM_SET_MEMORY_ATTRIBUTES',
    )
  })

  test('a write to a gpa without memslot is an MMIO exit that can be resumed', async ({ kvm }) => {
    using vm = kvm.createVm()
    using vcpu = vm.createVcpu()
    const hole = gpa(0x7000_0000)

    const write = await vcpu.attempt.write32(hole, 0x1234_5678)

    expect(write).toBeExit({
      reason: 'MMIO',
      gpa: hole,
      isWrite: true,
      data: Uint8Array.of(0x78, 0x56, 0x34, 0x12),
    })
    expect(await vcpu.resume()).toBeDone()
  })
})

describe('a vCPU', () => {
  test('gets from the host what it reads from a port', async ({ kvm }) => {
    using vm = kvm.createVm()
    using vcpu = vm.createVcpu()

    const read = await vcpu.attempt.in(0x3f8, 2)

    expect(read).toBeExit({ reason: 'IO', direction: 'in', port: 0x3f8, size: 2, count: 1 })
    expect(await vcpu.resume({ data: 0xbeefn })).toBeDone(0xbeef)
  })

  test('gets from the host what it reads from a gpa without memslot beyond 512 GiB', async ({ kvm }) => {
    using vm = kvm.createVm()
    using vcpu = vm.createVcpu()
    const high = gpa(0x80_1234_5678n)

    const read = await vcpu.attempt.read32(high)

    expect(read).toBeExit({ reason: 'MMIO', gpa: high, length: 4, isWrite: false })
    expect(await vcpu.resume({ data: 0x0bad_cafen })).toBeDone(0x0bad_cafe)
  })

  test('reports an exception of the guest, and goes on', async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(1) })
    using vcpu = vm.createVcpu()
    memory.shared.write64(bytes(8), 0x1234n)
    const noSuchMsr = 0x1234_5678

    const outcome = await vcpu.attempt.rdmsr(noSuchMsr)

    expect(outcome).toBeExit({ reason: 'EXCEPTION', vector: VECTOR.GP, errorCode: 0n })
    expect(await vcpu.read64(memory.gpaOf(bytes(8)))).toBe(0x1234n)
  })

  test('can be given a new operation once an interrupted one was given up', async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(1) })
    using vcpu = vm.createVcpu()
    await vcpu.attempt.write64(gpa(0x7000_0000), 1n)

    await expect(vcpu.read64(memory.gpa)).rejects.toThrow(/was interrupted by an exit/)
    vcpu.reset()

    expect(await vcpu.fetchAdd64(memory.gpa, 5n)).toBe(0n)
    expect(memory.shared.read64(bytes(0))).toBe(5n)
  })

  test('spins over a range until it is stopped, while another one works', async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(8) })
    using spinner = vm.createVcpu()
    using worker = vm.createVcpu()

    const spin = spinner.spinWrite(memory.range(pages(0), pages(4)))
    await spin.progressed(2n)
    await worker.fill(memory.range(pages(4), pages(4)), 0xee)
    const passes = await spin.stop()

    expect(passes).toBeGreaterThanOrEqual(2n)
    expect(memory.shared.read64(pages(3))).toBe(memory.shared.read64(pages(0)))
    expect(memory.shared).toBeFilledWith(0xee, memory.range(pages(4), pages(4)))
  })

  test('that waits for ever reaches its deadline, and ends when the host gives in', async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(1) })
    using vcpu = vm.createVcpu()

    const outcome = await vcpu.attempt.waitChange(memory.gpa, 0n, { deadlineMs: 50 })
    memory.shared.write64(bytes(0), 7n)

    expect(outcome).toBeExit({ reason: 'DEADLINE', deadlineMs: 50 })
    expect(await vcpu.resume()).toBeDone(7n)
  })
})

describe('a SW_PROTECTED VM', () => {
  test('a page converted to private keeps nothing of what the host wrote', {
    needs: [vmType.swProtected, memoryAttribute.private],
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(512), guestMemfd: {} })
    using vcpu = vm.createVcpu()

    memory.shared.fill(0xaa)
    vm.setPrivate(memory.range(pages(3), pages(1)))

    expect(await vcpu.read64(memory.gpaOf(pages(3)))).toBe(0n)
    expect(await vcpu.read64(memory.gpaOf(pages(4)))).toBe(0xaaaa_aaaa_aaaa_aaaan)
  })

  test('a private access to a slot without guest_memfd faults, and resumes once the page is shared', {
    needs: [vmType.swProtected, memoryAttribute.private],
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(4) })
    using vcpu = vm.createVcpu()
    memory.shared.fill(0x77)
    vm.setPrivate(memory.range(pages(1), pages(1)))

    const fault = await vcpu.attempt.read64(memory.gpaOf(pages(1)))
    expect(fault).toBeMemoryFault({
      gpa: memory.gpaOf(pages(1)),
      size: pages(1),
      private: true,
      code: 'EFAULT',
    })

    vm.setShared(memory.range(pages(1), pages(1)))
    expect(await vcpu.resume()).toBeDone(0x7777_7777_7777_7777n)
  })

  test('a guest asks for a conversion with KVM_HC_MAP_GPA_RANGE and gets the answer in rax', {
    needs: [vmType.swProtected, hypercalls],
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    vm.enableCapability('EXIT_HYPERCALL', [1n << 12n])
    const memory = vm.addMemory({ gpa: BASE, size: pages(4), guestMemfd: {} })
    using vcpu = vm.createVcpu()

    const asked = await vcpu.attempt.mapGpaRange({
      gpa: BASE,
      pages: 2n,
      attributes: KVM_MAP_GPA_RANGE_ENCRYPTED,
    })
    vm.setPrivate(memory.range(pages(0), pages(2)))
    const answered = await vcpu.resume({ ret: -11n })

    expect(asked).toBeExit({ reason: 'HYPERCALL', nr: 12n, args: [BASE, 2n, 16n, 0n, 0n, 0n] })
    expect(answered).toBeDone(-11n)
  })
})

describe('a kernel without SW_PROTECTED VMs', () => {
  test('the type is refused', { needs: [not(vmType.swProtected)] }, ({ kvm }) => {
    expect(() => kvm.createVm({ type: 'SW_PROTECTED' })).toFailWith('EINVAL', 'KVM_CREATE_VM')
  })
})
