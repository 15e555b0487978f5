// SPDX-License-Identifier: Apache-2.0
import { MADV_HWPOISON } from 'gmem/abi'
import { bytes, cases, describe, expect, gpa, pages, sharedGuestMemfd, tdp, test } from 'gmem/testing'
import { BASE } from './support/conversion.js'
import { hostAccesses, outsideOf } from './support/conversion-host-access.js'
import { directMapOf, hiddenFile, hiddenMemory, noDirectMap, pageFrame } from './support/no-direct-map.js'
import { pinKinds } from './support/pins.js'
import { sendZeroCopy } from './support/zero-copy.js'

// facts/guest-memfd-abi.md, section 1.3: what the kernel does by the process's mapping works, what wants the page itself is refused.
const needs = noDirectMap

const copies = hostAccesses.filter(({ isByMapping }) => isByMapping === true)
// MADV_POPULATE_* gives EINVAL for mappings that GUP refuses as such (faultin_page_range(), mm/gup.c, 7.3.4; the sheet says EFAULT).
const uses = hostAccesses
  .filter(({ isByMapping }) => isByMapping !== true)
  .map((row) => (row.what.includes('MADV_POPULATE') ? { ...row, refusal: 'EINVAL' } : row))
const PORT = 0x3f8
/** mov rax, [ABSENT]; ret */
const ABSENT = gpa(0x2000_0000)
const LOAD_ABSENT = Uint8Array.of(0x48, 0xa1, ...new Uint8Array(BigUint64Array.of(ABSENT).buffer), 0xc3)

describe('a mapped page outside the direct map', () => {
  cases(
    copies,
    ({ what }) => `can be reached with ${what}`,
    (row) => ({ needs: [...needs, ...(row.needs ?? [])] }),
    ({ kvm, defer }, { run, moves }) => {
      using vm = kvm.createVm()
      const mapping = hiddenFile(vm, 1).mmap()
      mapping.fill(0xaa)
      const outside = outsideOf(0x5a)
      defer(() => outside.close())

      run(mapping, outside)

      expect(mapping).toBeFilledWith(moves === 'in' ? 0x5a : 0xaa)
      expect(outside.mapping).toBeFilledWith(moves === 'in' ? 0x5a : 0xaa)
    },
  )

  cases(
    uses,
    ({ what, refusal }) => `refuses ${what} with ${refusal}, and gives no byte`,
    (row) => ({ needs: [...needs, ...(row.needs ?? [])] }),
    ({ kvm, defer }, { run, refusal }) => {
      using vm = kvm.createVm()
      const mapping = hiddenFile(vm, 1).mmap()
      mapping.fill(0xaa)
      const outside = outsideOf(0x5a)
      defer(() => outside.close())

      expect(() => run(mapping, outside)).toFailWith(refusal)

      expect(mapping).toBeFilledWith(0xaa)
      expect(outside.mapping).toBeFilledWith(0x5a)
      expect(directMapOf(pageFrame(mapping))).toBe('gone')
    },
  )

  cases(
    pinKinds,
    ({ what }) => `cannot be held by ${what}: EFAULT`,
    (row) => ({ needs: [...needs, ...row.needs] }),
    (context, { take }) => {
      using vm = context.kvm.createVm()
      const mapping = hiddenFile(vm, 2).mmap()
      mapping.fill(0xaa)

      expect(() => take(context, mapping, pages(1))).toFailWith('EFAULT')
    },
  )

  test('cannot be sent with MSG_ZEROCOPY: EFAULT', { needs }, (context) => {
    using vm = context.kvm.createVm()
    const mapping = hiddenFile(vm, 1).mmap()
    mapping.fill(0xaa)

    expect(() => sendZeroCopy(context, mapping.hva)).toFailWith('EFAULT')
  })

  test('cannot be poisoned by its address: madvise(MADV_HWPOISON) is EFAULT', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    const mapping = hiddenFile(vm, 1).mmap()
    mapping.fill(0xaa)

    expect(() => mapping.madvise(MADV_HWPOISON)).toFailWith('EFAULT')

    expect(mapping).toBeFilledWith(0xaa)
  })

  test('is mapped by a child made with fork(2)', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    const mapping = hiddenFile(vm, 1).mmap()
    mapping.write64(bytes(0), 0xbbn)

    const inChild = mapping.forkProbe(bytes(0), { write: 0xccn })

    expect(inChild.ok).toBe(true)
    expect(mapping.read64(bytes(0))).toBe(0xccn)
  })

  test('is of no use to an ordinary memslot, which needs the page: KVM_RUN fails with EFAULT', {
    needs: [...needs, sharedGuestMemfd, tdp],
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    using other = kvm.createVm()
    const mapping = hiddenFile(vm, 1).mmap()
    mapping.fill(0xaa)
    other.addMemory({ gpa: BASE, size: pages(1), userspace: mapping })
    using vcpu = other.createVcpu()

    const exit = await vcpu.attempt.read64(BASE)

    expect(exit).toMatchObject({ code: 'EFAULT' })
    expect(mapping).toBeFilledWith(0xaa)
  })
})

// kvm_read_guest() and kvm_write_guest() go through userspace_addr, which here is a mapping of the file (virt/kvm/kvm_main.c, 7.3.4).
describe('an access that KVM makes for the guest to memory outside the direct map', () => {
  test('reads it: rep outsb', { needs: [...needs, tdp] }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = hiddenMemory(vm, 1)
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xbb)

    const exit = await vcpu.attempt.outs(PORT, { gpa: BASE, size: bytes(4) })

    expect(exit).toBeExit({ reason: 'IO', direction: 'out', port: PORT, data: Uint8Array.of(0xbb) })
  })

  test('writes it: rep insb', { needs: [...needs, tdp] }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = hiddenMemory(vm, 1)
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xbb)

    await vcpu.attempt.ins(PORT, { gpa: BASE, size: bytes(4) })
    const resumed = await vcpu.resume({ data: Uint8Array.of(1, 2, 3, 4) })

    expect(resumed).toBeDone()
    expect(memory.shared.read(bytes(0), 6)).toEqual(Uint8Array.of(1, 2, 3, 4, 0xbb, 0xbb))
  })

  test('fetches the code there that does MMIO', { needs: [...needs, tdp] }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = hiddenMemory(vm, 1)
    using vcpu = vm.createVcpu()
    memory.shared.write(bytes(0), LOAD_ABSENT)
    // The first access makes the monitor map the address for the guest.
    await vcpu.attempt.read64(ABSENT)
    await vcpu.resume({ data: 0n })

    const exit = await vcpu.attempt.call(BASE)
    const called = await vcpu.resume({ data: 0x77n })

    expect(exit).toBeExit({ reason: 'MMIO', gpa: ABSENT, isWrite: false, length: 8 })
    expect(called).toBeDone(0x77n)
  })
})
