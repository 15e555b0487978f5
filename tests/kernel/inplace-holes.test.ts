// SPDX-License-Identifier: Apache-2.0
import { cases, describe, expect, pages, test } from 'gmem/testing'
import { BASE, soilFreePages } from './support/conversion.js'
import { inPlace, PRIVATE_FILE, residence, SHARED_FILE, sharedMemory, sharingOf } from './support/inplace.js'
import { pageOf, splicePage } from './support/pins.js'

// facts/inplace-conversion-abi.md, section 3: punch hole / fallocate. A hole takes the page and leaves the attribute.
const needs = inPlace

const SEED = 0x5ec2e7n

describe('a hole punched in a file', () => {
  test('leaves shared pages shared: host and guest read zero there', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, 3, SEED)
    const hole = memory.range(pages(1), pages(1))
    using vcpu = vm.createVcpu()
    soilFreePages()

    memory.punchHole(hole)

    expect(sharingOf(memory.shared)).toBe('SSS')
    expect(memory).toBeFilledWith(0, hole)
    await expect(vcpu).toSeeFilledWith(0, hole)
    expect(memory).toHoldPattern(SEED, memory.range(pages(0), pages(1)))
    expect(memory).toHoldPattern(SEED, memory.range(pages(2), pages(1)))
  })

  test('leaves private pages private: the guest reads zero there', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, 3, SEED)
    const hole = memory.range(pages(1), pages(1))
    memory.guestMemfd.convert(memory, 'private')
    using vcpu = vm.createVcpu()
    await expect(vcpu).toSeePattern(SEED, memory)
    soilFreePages()

    memory.punchHole(hole)

    expect(sharingOf(memory.shared)).toBe('PPP')
    await expect(vcpu).toSeeFilledWith(0, hole)
    await expect(vcpu).toSeePattern(SEED, memory.range(pages(0), pages(1)))
    await expect(vcpu).toSeePattern(SEED, memory.range(pages(2), pages(1)))
    expect(sharingOf(memory.shared)).toBe('PPP')
  })

  cases(
    ['PSSS', 'SPPS', 'PSPS', 'PPPS'].map((sharing) => ({ sharing })),
    ({ sharing }) => `of all of it leaves each page what it was: ${sharing}`,
    { needs },
    ({ kvm }, { sharing }) => {
      using vm = kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = sharedMemory(vm, 4, SEED)
      const privatePages = [0, 1, 2, 3].filter((page) => sharing[page] === 'P')
      for (const page of privatePages)
        memory.guestMemfd.convert(memory.range(pages(page), pages(1)), 'private')

      memory.punchHole()

      expect(residence(memory.shared)).toBe('0000')
      expect(sharingOf(memory.shared)).toBe(sharing)
    },
  )

  test('of a private page is all that the host finds once it is shared', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(1), guestMemfd: PRIVATE_FILE })
    using vcpu = vm.createVcpu()
    await vcpu.fillPattern(memory, SEED)
    soilFreePages()

    memory.punchHole()
    memory.guestMemfd.convert(memory, 'shared')

    expect(memory).toBeFilledWith(0)
    await expect(vcpu).toSeeFilledWith(0, memory)
  })

  test('under a page in use is no error, and the file’s new page can be converted', {
    needs,
  }, async (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, 2, SEED)
    using vcpu = vm.createVcpu()
    const old = pageOf(memory.shared, 1)
    const held = splicePage(context, memory.shared, pages(1))

    memory.punchHole(memory.range(pages(1), pages(1)))
    memory.guestMemfd.convert(memory, 'private')

    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(1), pages(1)))
    await expect(vcpu).toSeePattern(SEED, memory.range(pages(0), pages(1)))
    expect(held.drain()).toEqual(old)
  })
})

describe('fallocate(2)', () => {
  test('allocates shared and private pages, and leaves them what they are', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    soilFreePages()
    const memory = vm.addMemory({ gpa: BASE, size: pages(4), guestMemfd: SHARED_FILE })
    memory.guestMemfd.convert(memory.range(pages(1), pages(2)), 'private')
    using vcpu = vm.createVcpu()

    memory.allocate()

    expect(sharingOf(memory.shared)).toBe('SPPS')
    await expect(vcpu).toSeeFilledWith(0, memory)
  })

  test('of pages before they are converted does not stand in the way', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    soilFreePages()
    const memory = vm.addMemory({ gpa: BASE, size: pages(4), guestMemfd: SHARED_FILE })
    using vcpu = vm.createVcpu()

    memory.allocate()
    memory.guestMemfd.convert(memory, 'private')

    expect(sharingOf(memory.shared)).toBe('PPPP')
    await expect(vcpu).toSeeFilledWith(0, memory)
  })
})
