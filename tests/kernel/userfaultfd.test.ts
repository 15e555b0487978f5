// SPDX-License-Identifier: Apache-2.0
import { binding, Mapping } from 'gmem/kvm'
import { cases, describe, expect, guestMemfdFlag, pages, sharedGuestMemfd } from 'gmem/testing'
import { openUserFaults, UFFD_MODE, userFaults, watchFaults } from './support/user-faults.js'

const MODES = [
  { mode: 'missing', bit: UFFD_MODE.missing },
  { mode: 'write-protect', bit: UFFD_MODE.writeProtect },
  { mode: 'minor', bit: UFFD_MODE.minor },
]
const KINDS = [
  { what: 'a shared guest_memfd', flags: { mmap: true, initShared: true }, needs: [sharedGuestMemfd] },
  { what: 'a private guest_memfd', flags: { mmap: true }, needs: [guestMemfdFlag.mmap()] },
]

// The posted support (facts: guest-memfd-abi.md 3.13) is in no release up to 7.3: the file's mappings have no vm_uffd_ops.
describe('userfaultfd(2)', () => {
  cases(
    KINDS.flatMap((kind) => MODES.map((mode) => ({ ...kind, ...mode }))),
    ({ what, mode }) =>
      `cannot watch a mapping of ${what} for ${mode} faults: EINVAL, and it works as before`,
    ({ needs }) => ({ needs: [...needs, userFaults] }),
    (context, { flags, bit }) => {
      using vm = context.kvm.createVm()
      const mapping = vm.createGuestMemfd({ size: pages(2), flags }).mmap()
      using ordinary = Mapping.anonymous(pages(2))
      const fd = openUserFaults()
      context.defer(() => binding.addon.close(fd))
      const before = mapping.probe(pages(1)).ok

      expect(() => watchFaults(fd, mapping, bit)).toFailWith('EINVAL')

      expect(mapping.probe(pages(1)).ok).toBe(before)
      expect(() => watchFaults(fd, ordinary, UFFD_MODE.missing)).not.toThrow()
    },
  )
})
