// SPDX-License-Identifier: Apache-2.0
import { MADV_DONTNEED, PROT_NONE, PROT_READ } from 'gmem/abi'
import { Mapping } from 'gmem/kvm'
import {
  bytes,
  cases,
  describe,
  expect,
  gpaAdd,
  guestMemfd,
  guestMemfdFlag,
  inPlaceConversion,
  not,
  pages,
  sharedGuestMemfd,
  tdp,
  test,
} from 'gmem/testing'
import { BASE, fillOfPages, soilFreePages } from './support/conversion.js'
import { hostAccesses, outsideOf } from './support/conversion-host-access.js'

const SHARED_FILE = { mmap: true, initShared: true }
const needs = [sharedGuestMemfd]
// Without TDP, KVM may emulate an access, and then it goes through userspace_addr.
const direct = [sharedGuestMemfd, tdp]
// With in-place conversion each file says what is private, and one without INIT_SHARED begins so: inplace-exits.test.ts, and inplace-conversion.test.ts.
const byVm = not(inPlaceConversion)

/** What either side holds after an access, where it was 0xaa in the guest_memfd and 0x5a outside. */
const AFTER = {
  out: { inside: 0xaa, outside: 0xaa },
  in: { inside: 0x5a, outside: 0x5a },
  nothing: { inside: 0xaa, outside: 0x5a },
}

describe('memory of a shared guest_memfd', () => {
  test('is the same for guest and host, in both directions', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: SHARED_FILE })
    using vcpu = vm.createVcpu()

    memory.shared.write64(bytes(8), 0x1111n)
    expect(await vcpu.fetchAdd64(memory.gpaOf(bytes(8)), 1n)).toBe(0x1111n)
    expect(memory.shared.read64(bytes(8))).toBe(0x1112n)
    memory.shared.write64(bytes(8), 0x2222n)

    expect(await vcpu.read64(memory.gpaOf(bytes(8)))).toBe(0x2222n)
  })

  test('reads zero to both at its first touch', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(16), guestMemfd: SHARED_FILE })
    using vcpu = vm.createVcpu()
    await vcpu.ready()

    soilFreePages()

    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(0), pages(8)))
    expect(memory).toBeFilledWith(0, memory.range(pages(8), pages(8)))
  })

  test('is the part of the file that the memslot names', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const file = vm.createGuestMemfd({ size: pages(4), flags: SHARED_FILE })
    const upper = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: file, offset: pages(2) })
    const lower = vm.addMemory({
      gpa: gpaAdd(BASE, pages(8)),
      size: pages(1),
      guestMemfd: file,
      offset: pages(1),
    })
    using vcpu = vm.createVcpu()

    await vcpu.fill(upper, 0xcc)
    await vcpu.fill(lower, 0xbb)

    expect(fillOfPages(file.mmap())).toEqual([0, 0xbb, 0xcc, 0xcc])
  })

  test('is the same in a second mapping and in a child process', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: SHARED_FILE })
    using vcpu = vm.createVcpu()
    await vcpu.write64(BASE, 0xbbn)

    const second = memory.guestMemfd.mmap({ prot: PROT_READ })
    const inChild = memory.shared.forkProbe(bytes(0))
    memory.shared.forkProbe(bytes(8), { write: 0xccn })

    expect(second.read64(bytes(0))).toBe(0xbbn)
    expect(inChild).toEqual({ ok: true, value: 0xbbn })
    expect(await vcpu.read64(memory.gpaOf(bytes(8)))).toBe(0xccn)
  })

  test('keeps its bytes when the host drops its mapping with MADV_DONTNEED', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: SHARED_FILE })
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xbb)

    memory.shared.madvise(MADV_DONTNEED)

    await expect(vcpu).toSeeFilledWith(0xbb, memory)
    expect(memory).toBeFilledWith(0xbb)
  })

  test('stays mapped for the guest when the host unmaps it', { needs: direct }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: SHARED_FILE })
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xbb)

    memory.shared.munmap({ offset: bytes(0), size: pages(2) })

    await expect(vcpu).toSeeFilledWith(0xbb, memory)
    await vcpu.fill(memory, 0xcc)
    expect(memory.guestMemfd.mmap()).toBeFilledWith(0xcc)
  })

  test('stays writable for the guest when the host may not touch it', { needs: direct }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: SHARED_FILE })
    using vcpu = vm.createVcpu()

    memory.shared.mprotect(PROT_NONE)
    await vcpu.fill(memory, 0xbb)

    expect(memory.shared.probe(bytes(0))).toBeSignal('SIGSEGV', {
      code: 'SEGV_ACCERR',
      address: memory.shared.hva,
    })
    memory.shared.mprotect(PROT_READ)
    expect(memory).toBeFilledWith(0xbb)
  })

  test('reads zero to both after a hole was punched', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(3), guestMemfd: SHARED_FILE })
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xbb)

    memory.punchHole(memory.range(pages(1), pages(1)))

    expect(fillOfPages(memory.shared)).toEqual([0xbb, 0, 0xbb])
    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(1), pages(1)))
  })

  cases(
    hostAccesses,
    ({ what }) => `can be reached with ${what}`,
    (row) => ({ needs: [...needs, ...(row.needs ?? [])] }),
    ({ kvm, defer }, { run, moves }) => {
      using vm = kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(1), flags: SHARED_FILE })
      const mapping = file.mmap()
      mapping.fill(0xaa)
      const outside = outsideOf(0x5a)
      defer(() => outside.close())

      run(mapping, outside)

      expect(mapping).toBeFilledWith(AFTER[moves].inside)
      expect(outside.mapping).toBeFilledWith(AFTER[moves].outside)
    },
  )
})

describe('a guest_memfd that can be mapped', () => {
  test('is what the guest sees, whatever userspace_addr points to', { needs: direct }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const file = vm.createGuestMemfd({ size: pages(1), flags: SHARED_FILE })
    file.mmap().fill(0xaa)
    using decoy = Mapping.anonymous(pages(1))
    decoy.fill(0x5a)
    const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: file, userspace: decoy })
    using vcpu = vm.createVcpu()

    await expect(vcpu).toSeeFilledWith(0xaa, memory)
    await vcpu.fill(memory, 0xbb)
    expect(decoy).toBeFilledWith(0x5a)
    expect(file.mmap()).toBeFilledWith(0xbb)
  })

  test('needs no userspace_addr', { needs: direct }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: SHARED_FILE, userspace: null })
    using vcpu = vm.createVcpu()

    await vcpu.fill(memory, 0xbb)

    expect(memory.guestMemfd.mmap()).toBeFilledWith(0xbb)
  })

  test('without INIT_SHARED serves the guest, and raises SIGBUS in the host', {
    needs: [guestMemfdFlag.mmap(), tdp, byVm],
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd: { mmap: true } })
    using vcpu = vm.createVcpu()

    await vcpu.fill(memory, 0xbb)

    await expect(vcpu).toSeeFilledWith(0xbb, memory)
    expect(memory.shared.probe(bytes(0))).toBeSignal('SIGBUS', {
      code: 'BUS_ADRERR',
      address: memory.shared.hva,
    })
  })

  test('keeps its bytes through conversions: one page is both copies', {
    needs: [guestMemfdFlag.mmap('SW_PROTECTED'), byVm],
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: { mmap: true } })
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xaa)

    vm.setPrivate(memory)
    const asPrivate = await vcpu.read64(BASE)
    await vcpu.fill(memory, 0xbb)
    vm.setShared(memory)

    expect(asPrivate).toBe(0xaaaa_aaaa_aaaa_aaaan)
    await expect(vcpu).toSeeFilledWith(0xbb, memory)
  })
})

test('a guest_memfd that cannot be mapped is not touched by a VM without private memory', {
  needs: [guestMemfd(), sharedGuestMemfd, byVm],
}, async ({ kvm }) => {
  using vm = kvm.createVm()
  const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: {} })
  memory.shared.fill(0xaa)
  using vcpu = vm.createVcpu()

  const seen = await vcpu.read64(BASE)
  await vcpu.fill(memory, 0xbb)

  // Every access is a shared one, and those go to userspace_addr.
  expect(seen).toBe(0xaaaa_aaaa_aaaa_aaaan)
  expect(memory).toBeFilledWith(0xbb)
})
