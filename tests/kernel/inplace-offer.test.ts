// SPDX-License-Identifier: Apache-2.0
import { readFileSync, statSync } from 'node:fs'
import { KVM_MEMORY_ATTRIBUTE_PRIVATE, MAP_PRIVATE } from 'gmem/abi'
import { bytes, describe, expect, gpa, pages, test } from 'gmem/testing'
import { errnoOf } from './support/conversion.js'
import { inPlace, SHARED_FILE } from './support/inplace.js'
import { onlyReleasedFlags } from './support/released-flags.js'

// facts/inplace-conversion-abi.md, section 1: what a kernel that converts in place offers, and what it does not offer beside that.
const needs = inPlace

/** GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED. */
const BOTH_FLAGS = 3
const PARAMETER = '/sys/module/kvm/parameters/gmem_in_place_conversion'

describe('a kernel that converts in place', () => {
  test('accepts INIT_SHARED for files of a SW_PROTECTED VM, and reports it', {
    needs: [...needs, ...onlyReleasedFlags],
  }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })

    const file = vm.createGuestMemfd({ size: pages(1), flags: SHARED_FILE })
    const withoutMmap = vm.createGuestMemfd({ size: pages(1), flags: { initShared: true } })

    expect(vm.capability('GUEST_MEMFD_FLAGS')).toBe(BOTH_FLAGS)
    expect([file.size, withoutMmap.size]).toEqual([pages(1), pages(1)])
  })

  test('reports no attributes of VMs, and KVM_SET_MEMORY_ATTRIBUTES makes nothing private', { needs }, ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const range = { gpa: gpa(0x1000_0000), size: pages(1) }

    const errno = errnoOf(() => vm.setPrivate(range))

    expect([kvm.capability('MEMORY_ATTRIBUTES'), vm.capability('MEMORY_ATTRIBUTES')]).toEqual([0, 0])
    // ENOTTY without CONFIG_KVM_VM_MEMORY_ATTRIBUTES, EINVAL with it.
    expect(['ENOTTY', 'EINVAL']).toContain(errno)
  })

  test('says so in a module parameter that cannot be changed', { needs }, () => {
    expect(readFileSync(PARAMETER, 'utf8')).toBe('Y\n')
    expect(statSync(PARAMETER).mode & 0o777).toBe(0o444)
  })

  test('leaves the errors of mmap(2) as they are', { needs }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using unmappable = vm.createGuestMemfd({ size: pages(1), flags: { initShared: true } })
    using file = vm.createGuestMemfd({ size: pages(1), flags: SHARED_FILE })

    expect(() => unmappable.mmap()).toFailWith('ENODEV')
    expect(() => file.mmap({ flags: MAP_PRIVATE })).toFailWith('EINVAL')
  })

  test('converts with the ioctl of its own: convert() needs no capability’s number', { needs }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using file = vm.createGuestMemfd({ size: pages(2), flags: SHARED_FILE })
    const mapping = file.mmap()

    file.convert(file.whole(), 'private')
    file.setAttributes({ offset: 0n, size: pages(1), attributes: 0n })

    expect(mapping.probe(bytes(0)).ok).toBe(true)
    expect(mapping.probe(pages(1))).toBeSignal('SIGBUS')
    file.setAttributes({ offset: 0n, size: pages(2), attributes: KVM_MEMORY_ATTRIBUTE_PRIVATE })
    expect(mapping.probe(bytes(0))).toBeSignal('SIGBUS')
  })
})
