// SPDX-License-Identifier: Apache-2.0
import { KVM_MEMORY_ATTRIBUTE_PRIVATE } from 'gmem/abi'
import { convertWithRetry } from 'gmem/kvm'
import { bytes, cases, describe, expect, pages, test } from 'gmem/testing'
import { errnoOf } from './support/conversion.js'
import { inPlace, residence, sharedMemory, sharingOf } from './support/inplace.js'
import { pageOf, pinKinds, splicePage } from './support/pins.js'

// facts/inplace-conversion-abi.md, section 2, row 12; section 3, conversion to private, to shared, partial failure; section 5, elevated_refcount.
const needs = inPlace

const SEED = 0x5ec2e7n
const PAGES = 8
const PINNED = 5

const named = ({ what }: { readonly what: string }) => what
const needsOf = (row: (typeof pinKinds)[number]) => ({ needs: [...needs, ...row.needs] })

describe('a conversion to private of many pages, one of which is in use', () => {
  cases(
    pinKinds,
    (row) => `by ${named(row)} fails with EAGAIN and its offset, and succeeds once it is released`,
    needsOf,
    async (context, { take }) => {
      using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = sharedMemory(vm, PAGES, SEED)
      using vcpu = vm.createVcpu()
      const convert = () => memory.guestMemfd.convert(memory, 'private')
      const pin = take(context, memory.shared, pages(PINNED))

      expect(convert).toFailWith('EAGAIN')
      expect(convert).toThrow(expect.objectContaining({ errorOffset: pages(PINNED) }))
      const [refused, resident] = [sharingOf(memory.shared), residence(memory.shared)]
      await expect(vcpu).toSeePattern(SEED, memory)
      pin.release()
      convert()

      expect([refused, resident]).toEqual(['SSSSSSSS', '11111111'])
      expect(sharingOf(memory.shared)).toBe('PPPPPPPP')
      await expect(vcpu).toSeePattern(SEED, memory)
    },
  )

  cases(
    pinKinds,
    (row) => `by ${named(row)} succeeds for every page but that one`,
    needsOf,
    (context, { take }) => {
      using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = sharedMemory(vm, PAGES, SEED)
      const pin = take(context, memory.shared, pages(PINNED))
      const convertPage = (page: number) =>
        memory.guestMemfd.attemptAttributes({
          offset: pages(page),
          size: pages(1),
          attributes: KVM_MEMORY_ATTRIBUTE_PRIVATE,
        })

      const results = Array.from({ length: PAGES }, (_, page) => convertPage(page))
      const state = sharingOf(memory.shared)
      pin.release()

      expect(results.map(({ code }) => code)).toEqual(['', '', '', '', '', 'EAGAIN', '', ''])
      expect(results[PINNED]?.struct.error_offset).toBe(pages(PINNED))
      expect(state).toBe('PPPPPSPP')
      expect(convertPage(PINNED).code).toBe('')
      expect(sharingOf(memory.shared)).toBe('PPPPPPPP')
    },
  )

  cases(
    pinKinds,
    (row) => `by ${named(row)} succeeds where the range only borders on it`,
    needsOf,
    (context, { take }) => {
      using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = sharedMemory(vm, PAGES, SEED)
      take(context, memory.shared, pages(PINNED))

      memory.guestMemfd.convert(memory.range(pages(0), pages(PINNED)), 'private')
      memory.guestMemfd.convert(memory.range(pages(PINNED + 1), pages(2)), 'private')

      expect(sharingOf(memory.shared)).toBe('PPPPPSPP')
    },
  )

  cases(
    pinKinds,
    (row) => `by ${named(row)} does not keep pages from becoming shared`,
    needsOf,
    (context, { take }) => {
      using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = sharedMemory(vm, PAGES, SEED)
      take(context, memory.shared, pages(PINNED))
      memory.guestMemfd.convert(memory.range(pages(0), pages(4)), 'private')

      memory.guestMemfd.convert(memory, 'shared')

      expect(sharingOf(memory.shared)).toBe('SSSSSSSS')
      expect(memory).toHoldPattern(SEED)
    },
  )

  test('fails for a mixed range with each page as it was', { needs }, async (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, PAGES, SEED)
    using vcpu = vm.createVcpu()
    memory.guestMemfd.convert(memory.range(pages(1), pages(2)), 'private')
    memory.guestMemfd.convert(memory.range(pages(6), pages(1)), 'private')
    splicePage(context, memory.shared, pages(PINNED))

    const { code, struct } = memory.guestMemfd.attemptAttributes({
      offset: 0n,
      size: memory.size,
      attributes: KVM_MEMORY_ATTRIBUTE_PRIVATE,
    })

    expect({ code, errorOffset: struct.error_offset }).toEqual({ code: 'EAGAIN', errorOffset: pages(PINNED) })
    expect(sharingOf(memory.shared)).toBe('SPPSSSPS')
    await expect(vcpu).toSeePattern(SEED, memory)
  })

  test('names the first of several, one after the other', { needs }, (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, PAGES, SEED)
    const held = [7, 3, 0].map((page) => splicePage(context, memory.shared, pages(page)))
    const blockedAt = () =>
      memory.guestMemfd.attemptAttributes({
        offset: 0n,
        size: memory.size,
        attributes: KVM_MEMORY_ATTRIBUTE_PRIVATE,
      }).struct.error_offset

    const offsets = held.reverse().map((page) => {
      const offset = blockedAt()
      page.drain()
      return offset
    })
    memory.guestMemfd.convert(memory, 'private')

    expect(offsets).toEqual([pages(0), pages(3), pages(7)])
    expect(sharingOf(memory.shared)).toBe('PPPPPPPP')
  })

  test('names an offset in the file, not in the range', { needs }, (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, PAGES, SEED)
    splicePage(context, memory.shared, pages(PINNED))

    const offsets = [1, 4, 5].map((first) => {
      const request = {
        offset: pages(first),
        size: pages(PAGES - first),
        attributes: KVM_MEMORY_ATTRIBUTE_PRIVATE,
      }
      return memory.guestMemfd.attemptAttributes(request).struct.error_offset
    })

    expect(offsets).toEqual([pages(PINNED), pages(PINNED), pages(PINNED)])
  })

  test('leaves all of its range to host and guest: both read and write on', { needs }, async (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, PAGES, SEED)
    using vcpu = vm.createVcpu()
    splicePage(context, memory.shared, pages(PINNED))

    const errno = errnoOf(() => memory.guestMemfd.convert(memory, 'private'))
    memory.shared.write64(bytes(0), 1n)
    await vcpu.write64(memory.gpaOf(pages(PINNED)), 2n)

    expect(errno).toBe('EAGAIN')
    expect(await vcpu.read64(memory.gpa)).toBe(1n)
    expect(memory.shared.read64(pages(PINNED))).toBe(2n)
  })
})

describe('bytes on their way through a pipe', () => {
  test('arrive as they are in the page, after conversions that failed', { needs }, (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, 2, SEED)
    const expected = pageOf(memory.shared, 1)
    const held = splicePage(context, memory.shared, pages(1))

    const errnos = Array.from({ length: 10 }, () =>
      errnoOf(() => memory.guestMemfd.convert(memory, 'private')),
    )

    expect(errnos).toEqual(Array(10).fill('EAGAIN'))
    expect(held.drain()).toEqual(expected)
  })

  test('are the page itself, which host and guest still write', { needs }, async (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, 1, SEED)
    using vcpu = vm.createVcpu()
    const held = splicePage(context, memory.shared, pages(0))

    const errno = errnoOf(() => memory.guestMemfd.convert(memory, 'private'))
    await vcpu.fill(memory, 0xbb)

    expect(errno).toBe('EAGAIN')
    expect(held.drain()).toBeFilledWith(0xbb)
  })
})

describe('convertWithRetry', () => {
  cases(
    pinKinds,
    (row) => `gets there when the caller releases what it is told: ${named(row)}`,
    needsOf,
    async (context, { take }) => {
      using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = sharedMemory(vm, PAGES, SEED)
      using vcpu = vm.createVcpu()
      const pins = new Map(
        [2, PINNED].map((page) => [pages(page), take(context, memory.shared, pages(page))]),
      )
      const told: bigint[] = []

      const attempts = await convertWithRetry(
        memory.guestMemfd,
        { range: memory, to: 'private' },
        {
          signal: context.signal,
          release: ({ offset }) => {
            told.push(offset)
            pins.get(offset)?.release()
            pins.delete(offset)
          },
        },
      )

      // The kernel may let go of a page some time after it was asked to: then the same offset comes again.
      expect([...new Set(told)]).toEqual([pages(2), pages(PINNED)])
      expect(attempts).toBe(told.length + 1)
      expect(sharingOf(memory.shared)).toBe('PPPPPPPP')
      await expect(vcpu).toSeePattern(SEED, memory)
    },
  )

  test('gives up after its last attempt with the kernel’s error, and nothing has changed', {
    needs,
  }, async (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, 2, SEED)
    splicePage(context, memory.shared, pages(1))
    const told: number[] = []

    const converting = convertWithRetry(
      memory.guestMemfd,
      { range: memory, to: 'private' },
      { attemptsMax: 3, release: ({ attempts }) => void told.push(attempts) },
    )

    await expect(converting).toFailWith('EAGAIN')
    expect(told).toEqual([1, 2])
    expect(sharingOf(memory.shared)).toBe('SS')
  })
})
