// SPDX-License-Identifier: Apache-2.0
import { KVM_GMEM_CONVERT_PRIVATE, kvm_gmem_convert } from 'gmem/abi'
import type { GuestMemfd, Kvm, Mapping } from 'gmem/kvm'
import { cases, describe, expect, ioctl, pages, test } from 'gmem/testing'
import { inPlace, SHARED_FILE, sharingOf } from './support/inplace.js'
import { splicePage } from './support/pins.js'

// KVM_GMEM_CONVERT_SHARED and _PRIVATE, and where they differ from KVM_SET_MEMORY_ATTRIBUTES2: facts/inplace-conversion-abi.md, section 4.
const needs = [...inPlace, ioctl('guest_memfd: KVM_GMEM_CONVERT_PRIVATE')]

const PAGES = 4
const SIZE = pages(PAGES)
const ALL = { offset: 0n, size: SIZE }

const malformed = [
  { what: 'an offset inside of a page', request: { offset: 1n } },
  { what: 'a size of half a page', request: { size: 2048n } },
  { what: 'an end beyond that of the file', request: { offset: pages(1) } },
  { what: 'a range that wraps', request: { offset: pages(1), size: 2n ** 64n - pages(1) } },
  { what: 'an error_offset that is not 0', request: { error_offset: 1n } },
] as const

function sharedFile(kvm: Kvm): { readonly file: GuestMemfd; readonly mapping: Mapping } {
  const vm = kvm.createVm({ type: 'SW_PROTECTED' })
  const file = vm.createGuestMemfd({ size: SIZE, flags: SHARED_FILE })
  const mapping = file.mmap()
  mapping.fill(0xaa)
  return { file, mapping }
}

describe('KVM_GMEM_CONVERT_PRIVATE and KVM_GMEM_CONVERT_SHARED', () => {
  test('convert in place, and keep the data', { needs }, ({ kvm }) => {
    const { file, mapping } = sharedFile(kvm)

    const toPrivate = file.attemptGmemConvert('private', { offset: pages(1), size: pages(2) })
    const between = sharingOf(mapping)
    const toShared = file.attemptGmemConvert('shared', { offset: pages(1), size: pages(2) })

    expect([toPrivate.code, toShared.code]).toEqual(['', ''])
    expect(between).toBe('SPPS')
    expect(mapping).toBeFilledWith(0xaa)
  })

  test('are the same state as KVM_SET_MEMORY_ATTRIBUTES2', { needs }, ({ kvm }) => {
    const { file, mapping } = sharedFile(kvm)

    file.attemptGmemConvert('private', ALL)
    file.setAttributes({ offset: 0n, size: pages(2), attributes: 0n })

    expect(sharingOf(mapping)).toBe('SSPP')
  })

  test('do nothing for size 0, without an error', { needs }, ({ kvm }) => {
    const { file, mapping } = sharedFile(kvm)

    const results = [
      file.attemptGmemConvert('private', { offset: 0n, size: 0n }),
      file.attemptGmemConvert('private', { offset: SIZE, size: 0n }),
      file.attemptGmemConvert('shared', { offset: 0n, size: 0n }),
    ]

    expect(results.map(({ code }) => code)).toEqual(['', '', ''])
    expect(sharingOf(mapping)).toBe('SSSS')
  })

  test('do not look at the reserved fields', { needs }, ({ kvm }) => {
    const { file, mapping } = sharedFile(kvm)

    const { code } = file.attemptGmemConvert('private', { ...ALL, reserved: [1n, 2n, 3n, 4n, 5n] })

    expect(code).toBe('')
    expect(sharingOf(mapping)).toBe('PPPP')
  })

  cases(
    malformed,
    ({ what }) => `refuse ${what} with EINVAL`,
    { needs },
    ({ kvm }, { request }) => {
      const { file, mapping } = sharedFile(kvm)

      const toPrivate = file.attemptGmemConvert('private', { ...ALL, ...request })
      const toShared = file.attemptGmemConvert('shared', { ...ALL, ...request })

      expect([toPrivate.code, toShared.code]).toEqual(['EINVAL', 'EINVAL'])
      expect(sharingOf(mapping)).toBe('SSSS')
    },
  )

  test('give EFAULT where the struct cannot be read', { needs }, ({ kvm }) => {
    const { file } = sharedFile(kvm)

    expect(() => file.ioctl(KVM_GMEM_CONVERT_PRIVATE, null)).toFailWith('EFAULT')
  })

  test('give EAGAIN for a page in use, its offset, and change nothing', { needs }, (context) => {
    const { file, mapping } = sharedFile(context.kvm)
    const held = splicePage(context, mapping, pages(2))

    const blocked = file.attemptGmemConvert('private', ALL)
    const state = sharingOf(mapping)
    held.drain()
    const after = file.attemptGmemConvert('private', ALL)

    expect(blocked).toEqual({
      code: 'EAGAIN',
      struct: { ...ALL, error_offset: pages(2), reserved: [0n, 0n, 0n, 0n, 0n] },
    })
    expect(state).toBe('SSSS')
    expect(after.code).toBe('')
    expect(sharingOf(mapping)).toBe('PPPP')
  })

  test('are ENOTTY on a VM', { needs }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })

    expect(() => vm.ioctl(KVM_GMEM_CONVERT_PRIVATE, kvm_gmem_convert.encode(ALL))).toFailWith('ENOTTY')
  })
})
