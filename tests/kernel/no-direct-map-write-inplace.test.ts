// SPDX-License-Identifier: Apache-2.0
import { bytes, describe, expect, pages, test, writeFlag } from 'gmem/testing'
import { BASE, errnoOf, fillOfPages } from './support/conversion.js'
import { inPlace, sharingOf } from './support/inplace.js'
import {
  directMapOf,
  hidden,
  hiddenMemory,
  noDirectMap,
  pageFrame,
  pageFrames,
  pagesLeftOut,
} from './support/no-direct-map.js'
import { call, conversion, race } from './support/races.js'
import { canWrite, distinctPages, writable, writableMemory } from './support/write.js'

// What the open features are together, two at a time: facts/guest-memfd-abi.md, sections 1.6 and 2.

describe('memory outside the direct map that converts in place', () => {
  const needs = [...noDirectMap, ...inPlace]

  test('stays out of it, private and shared, with its bytes', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = hiddenMemory(vm, 2)
    using vcpu = vm.createVcpu()
    memory.shared.fill(0xaa)
    const frames = pageFrames(memory.shared)

    memory.guestMemfd.convert(memory, 'private')
    const whilePrivate = frames.map(directMapOf)
    await vcpu.fill(memory.range(pages(1), pages(1)), 0xbb)
    memory.guestMemfd.convert(memory, 'shared')

    expect(fillOfPages(memory.shared)).toEqual([0xaa, 0xbb])
    expect(pageFrames(memory.shared)).toEqual(frames)
    expect(whilePrivate).toEqual(['gone', 'gone'])
    expect(frames.map(directMapOf)).toEqual(['gone', 'gone'])
  })

  test('has no pins that could be in the way of a conversion', { needs }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = hiddenMemory(vm, 2)
    memory.shared.fill(0xaa)
    const mlocked = errnoOf(() => memory.shared.mlock())

    memory.guestMemfd.convert(memory, 'private')

    expect(mlocked).toBe('ENOMEM')
    expect(sharingOf(memory.shared)).toBe('PP')
  })

  test('is back in it after a hole was punched in private memory', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = hiddenMemory(vm, 1)
    using vcpu = vm.createVcpu()
    memory.shared.fill(0xaa)
    const frame = pageFrame(memory.shared)
    memory.guestMemfd.convert(memory, 'private')
    await expect(vcpu).toSeeFilledWith(0xaa, memory)

    memory.punchHole()

    expect(directMapOf(frame)).not.toBe('gone')
    await expect(vcpu).toSeeFilledWith(0, memory)
  })
})

describe('memory outside the direct map that can be written', () => {
  const needs = [...noDirectMap, ...canWrite]

  // Refused, or through a mapping of its own for as long as it takes; EEXIST where it was touched before (section 1.6).
  test('takes write(2) or refuses it as a whole, and stays out of it', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const guestMemfd = hidden() | writeFlag.bit()
    const memory = vm.addMemory({ gpa: BASE, size: pages(2), guestMemfd })
    using vcpu = vm.createVcpu()
    memory.shared.fill(0xaa)
    const before = pagesLeftOut()

    const errno = errnoOf(() => memory.guestMemfd.write(distinctPages(2)))

    const seen = fillOfPages(memory.shared)
    expect([
      ['', 0x11, 0x12],
      ['EOPNOTSUPP', 0xaa, 0xaa],
      ['EEXIST', 0xaa, 0xaa],
    ]).toContainEqual([errno, ...seen])
    await expect(vcpu).toSeeFilledWith(seen[0] as number, memory.range(pages(0), pages(1)))
    expect(pageFrames(memory.shared).map(directMapOf)).toEqual(['gone', 'gone'])
    expect(pagesLeftOut()).toBe(before)
  })

  test('leaves no page in the direct map that write(2) was the first to touch', { needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(2), flags: hidden() | writeFlag.bit() })

    const errno = errnoOf(() => file.write(distinctPages(2)))

    const mapping = file.mmap()
    expect([
      ['', 0x11, 0x12],
      ['EOPNOTSUPP', 0, 0],
    ]).toContainEqual([errno, ...fillOfPages(mapping)])
    expect(directMapOf(pageFrame(mapping, bytes(0)))).toBe('gone')
  })
})

// The host writes what it may access: the sheet does not say what becomes of private pages, so each errno will do.
describe('write(2) to a guest_memfd that converts in place', () => {
  const needs = [...canWrite, ...inPlace]

  test('is refused for a private page, whose bytes the guest keeps', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = writableMemory(vm, 2)
    using vcpu = vm.createVcpu()
    memory.guestMemfd.write(distinctPages(2))
    memory.guestMemfd.convert(memory.range(pages(1), pages(1)), 'private')

    const errno = errnoOf(() => memory.guestMemfd.pwrite(distinctPages(1, 0x77), pages(1)))

    expect(errno).not.toBe('')
    await expect(vcpu).toSeeFilledWith(0x12, memory.range(pages(1), pages(1)))
    expect(sharingOf(memory.shared)).toBe('SP')
  })

  test('ends short before a private page', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = writableMemory(vm, 3)
    using vcpu = vm.createVcpu()
    memory.guestMemfd.convert(memory.range(pages(1), pages(1)), 'private')

    const written = memory.guestMemfd.pwrite(distinctPages(3), 0n)

    expect(written).toBe(4096)
    await expect(vcpu).toSeeFilledWith(0x11, memory.range(pages(0), pages(1)))
    await expect(vcpu).toSeeFilledWith(0, memory.range(pages(1), pages(2)))
  })

  test('works for a page that is shared again, and what it wrote stays when it is private', {
    needs,
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = writableMemory(vm, 1)
    using vcpu = vm.createVcpu()
    memory.guestMemfd.convert(memory, 'private')
    memory.guestMemfd.convert(memory, 'shared')

    memory.guestMemfd.write(distinctPages(1))
    memory.guestMemfd.convert(memory, 'private')

    await expect(vcpu).toSeeFilledWith(0x11, memory)
    expect(sharingOf(memory.shared)).toBe('P')
  })

  test('that races conversions writes nothing into a page once it is private', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = writableMemory(vm, 2)
    const { fd } = memory.guestMemfd
    using vcpu = vm.createVcpu()
    await vcpu.fill(memory, 0xbb)

    const [converting = new Set()] = await race(150, [
      [conversion(memory, 'private', fd), conversion(memory, 'shared', fd)],
      [call('pwrite64', fd, distinctPages(2), pages(2), 0n)],
    ])
    memory.guestMemfd.convert(memory, 'private')
    await vcpu.fill(memory, 0xcc)
    const errno = errnoOf(() => memory.guestMemfd.pwrite(distinctPages(2), 0n))

    expect(['', 'EAGAIN']).toEqual(expect.arrayContaining([...converting]))
    expect(errno).not.toBe('')
    await expect(vcpu).toSeeFilledWith(0xcc, memory)
  })

  test('is offered on a VM with private memory', { needs }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using file = vm.createGuestMemfd({ size: pages(1), flags: writable() })

    expect(file.write(distinctPages(1))).toBe(4096)
  })
})
