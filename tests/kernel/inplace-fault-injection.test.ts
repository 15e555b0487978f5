// SPDX-License-Identifier: Apache-2.0
import { KVM_MEMORY_ATTRIBUTE_PRIVATE, KVM_SET_MEMORY_ATTRIBUTES2, kvm_memory_attributes2 } from 'gmem/abi'
import { Mapping } from 'gmem/kvm'
import { bytes, describe, expect, type GmemContext, pages, test } from 'gmem/testing'
import {
  FaultInjection,
  faultInjection,
  outcomes,
  type Scene,
  wronglyFailed,
} from './support/fault-injection.js'
import { inPlace, SHARED_FILE, sharingOf } from './support/inplace.js'
import { call } from './support/races.js'

const needs = [...inPlace, ...faultInjection]
/** Where kvm_memory_attributes2.error_offset is, and what it holds before a call: no offset of a page. */
const ERROR_OFFSET = 32
const MARK = 0x0123_4567_89ab_cdefn
/** A part of a file, so that what is recorded of the file has to be split. */
const PART = { offset: pages(1), size: pages(2) }

/** What the file's pages are before and after: to private, or back. */
const TO_PRIVATE = { attributes: KVM_MEMORY_ATTRIBUTE_PRIVATE, before: 'SSSS', after: 'SPPS' }
const TO_SHARED = { attributes: 0n, before: 'PPPP', after: 'PSSP' }

/** Converts a part of a file of four pages, which then is as before or as it should be. */
function converting({ kvm, defer }: Pick<GmemContext, 'kvm' | 'defer'>, to: typeof TO_PRIVATE): Scene {
  const struct = Mapping.anonymous(pages(1))
  defer(() => struct.close())
  const vm = kvm.createVm({ type: 'SW_PROTECTED' })
  return async (inject) => {
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED_FILE })
    using mapping = file.mmap()
    file.convert(file.whole(), to.before === 'SSSS' ? 'shared' : 'private')
    struct.write(
      bytes(0),
      kvm_memory_attributes2.encode({ ...PART, attributes: to.attributes, error_offset: MARK }),
    )
    const { code } = await inject(call('ioctl', file.fd, KVM_SET_MEMORY_ATTRIBUTES2, struct.hva))

    expect(sharingOf(mapping)).toBe(code === '' ? to.after : to.before)
    // Of these errors only ENOMEM writes an offset: that of the request.
    expect(struct.read64(bytes(ERROR_OFFSET))).toBe(code === 'ENOMEM' ? PART.offset : MARK)
  }
}

// Row 11 of facts/inplace-conversion-abi.md, section 2: what records the conversion is allocated before anything is changed.
describe('KVM_SET_MEMORY_ATTRIBUTES2, in which each allocation or copy fails in turn, converts all or nothing', () => {
  test('to private', { needs }, async (context) => {
    const seen = await new FaultInjection(context).eachPlace(converting(context, TO_PRIVATE))

    expect(wronglyFailed(seen)).toEqual([])
    expect(outcomes(seen)).toContain('fail_usercopy EFAULT')
  })

  test('to shared', { needs }, async (context) => {
    const seen = await new FaultInjection(context).eachPlace(converting(context, TO_SHARED))

    expect(wronglyFailed(seen)).toEqual([])
    expect(outcomes(seen)).toContain('fail_usercopy EFAULT')
  })

  test('to private, with nothing to allocate from one point on', { needs }, async (context) => {
    const seen = await new FaultInjection(context).eachAmount(64, converting(context, TO_PRIVATE))

    expect(wronglyFailed(seen)).toEqual([])
    expect(outcomes(seen)).toContain('failslab ENOMEM')
  })
})
