// SPDX-License-Identifier: Apache-2.0
import { O_PATH } from 'gmem/abi'
import { binding } from 'gmem/kvm'
import {
  cases,
  describe,
  expect,
  guestMemfd,
  not,
  pages,
  sharedGuestMemfd,
  test,
  vmType,
  writeFlag,
} from 'gmem/testing'
import { errnoOf } from './support/conversion.js'
import {
  ALL,
  ATTRIBUTES,
  DATA,
  READAHEAD,
  REST,
  readaheadRefuses,
  WRITING,
} from './support/file-operations.js'
import { procPath, sys } from './support/system-calls.js'

const { addon } = binding

/** Where write(2) is known, lseek(2) works and a file without the flag gives ENODEV: write.test.ts. */
const noWriting = not(writeFlag.need)

describe('a guest_memfd', () => {
  cases(
    [
      ...WRITING.map((row) => ({ ...row, needs: [noWriting] })),
      ...DATA.map((row) => ({ ...row, needs: [] })),
      { ...READAHEAD, needs: [readaheadRefuses] },
    ],
    ({ what, errno }) => `refuses ${what} with ${errno}, and keeps its bytes`,
    ({ needs }) => ({ needs: [sharedGuestMemfd, ...needs] }),
    (context, { call, errno }) => {
      using vm = context.kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(4), flags: { mmap: true, initShared: true } })
      const mapping = file.mmap()
      mapping.fill(0xc3)

      expect(() => call(file, context)).toFailWith(errno)

      expect(mapping).toBeFilledWith(0xc3)
    },
  )

  cases(
    ATTRIBUTES,
    ({ what, errno }) => `refuses ${what} with ${errno}, and stays as it was`,
    { needs: [guestMemfd()] },
    (context, { call, errno }) => {
      using vm = context.kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(4) })
      const before = file.stat()

      expect(() => call(file, context)).toFailWith(errno)

      expect(file.stat()).toEqual(before)
    },
  )

  cases(
    REST,
    ({ what, errno }) => `refuses ${what} with ${errno}`,
    { needs: [guestMemfd()] },
    (context, { call, errno }) => {
      using vm = context.kvm.createVm()
      using file = vm.createGuestMemfd({ size: pages(4) })

      expect(() => call(file, context)).toFailWith(errno)
    },
  )

  test('of a SW_PROTECTED VM refuses all that with the same errnos', {
    needs: [vmType.swProtected, noWriting],
  }, (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    using file = vm.createGuestMemfd({ size: pages(4) })

    const seen = ALL.map(({ what, call }) => ({ what, errno: errnoOf(() => call(file, context)) }))

    expect(seen).toEqual(ALL.map(({ what, errno }) => ({ what, errno })))
  })

  test('of a SW_PROTECTED VM refuses readahead(2), too', {
    needs: [vmType.swProtected, readaheadRefuses],
  }, (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    using file = vm.createGuestMemfd({ size: pages(4) })

    expect(() => READAHEAD.call(file, context)).toFailWith(READAHEAD.errno)
  })

  test('can be opened with O_PATH, for which it has the same inode', { needs: [guestMemfd()] }, (context) => {
    using vm = context.kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4) })

    const fd = addon.open(procPath(file), O_PATH, 0)

    context.defer(() => addon.close(fd))
    const stat = new Uint8Array(144)
    sys('fstat', fd, stat)
    // st_ino follows st_dev, both u64 (arch/x86/include/uapi/asm/stat.h).
    expect(new DataView(stat.buffer).getBigUint64(8, true)).toBe(file.stat().ino)
  })

  test('takes any posix_fadvise(2), as a file without backing store does', { needs: [guestMemfd()] }, ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4) })

    const outcomes = [0, 1, 2, 3, 4, 5].map((advice) =>
      errnoOf(() => sys('fadvise64', file.fd, 0, 0, advice)),
    )

    expect(outcomes).toEqual(['', '', '', '', '', ''])
    expect(() => sys('fadvise64', file.fd, 0, 0, 6)).toFailWith('EINVAL')
  })
})
