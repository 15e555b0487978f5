// SPDX-License-Identifier: Apache-2.0
import type { Bytes, Gpa, GuestMemfd, Vm } from 'gmem/kvm'
import { cases, describe, expect, gpa, kernelAtLeast, not, pages, sharedGuestMemfd, test } from 'gmem/testing'
import { errnoOf } from './support/conversion.js'
import { onEveryVmType } from './support/vm-types.js'

const LOW = gpa(0x1000_0000)
const HIGH = gpa(0x2000_0000)
const UNUSED_FD = 1_000_000

/** Slot 1: pages 2..5 of a file at LOW. */
function bindMiddle(vm: Vm, file: GuestMemfd): void {
  vm.setMemslot({ slot: 1, gpa: LOW, size: pages(4), guestMemfd: file, guestMemfdOffset: pages(2) })
}

// Ranges of the file that share pages with 2..5, which are bound.
const TAKEN = [
  { what: 'the same pages', offset: pages(2), size: pages(4) },
  { what: 'its first page, from before', offset: pages(0), size: pages(3) },
  { what: 'its last page, to behind', offset: pages(5), size: pages(3) },
  { what: 'one page within it', offset: pages(3), size: pages(1) },
  { what: 'more than all of it', offset: pages(0), size: pages(8) },
]

// The file's xarray has one entry for what a memslot binds of each 64 pages: here one; two, the last or the first of which is for one page.
const FREED = [
  { first: 1, count: 4 },
  { first: 60, count: 5 },
  { first: 63, count: 3 },
]

// The errno of a range that is bound already changed with 7ea987a90585 (7.2).
const REFUSAL = [
  { errno: 'EEXIST', need: kernelAtLeast('7.2') },
  { errno: 'EINVAL', need: not(kernelAtLeast('7.2')) },
]

describe('a range of a guest_memfd that a memslot is bound to', () => {
  onEveryVmType(({ type, bindable }) => {
    cases(
      REFUSAL,
      ({ errno }) => `cannot be bound again, not one page of it: ${errno}`,
      ({ need }) => ({ needs: [...bindable, need] }),
      ({ kvm }, { errno }) => {
        using vm = kvm.createVm({ type })
        using file = vm.createGuestMemfd({ size: pages(8) })
        bindMiddle(vm, file)
        const bind = (offset: bigint, size: Bytes) =>
          vm.setMemslot({ slot: 2, gpa: HIGH, size, guestMemfd: file, guestMemfdOffset: offset })

        const seen = TAKEN.map(({ what, offset, size }) => ({
          what,
          errno: errnoOf(() => bind(offset, size)),
        }))

        expect(seen).toEqual(TAKEN.map(({ what }) => ({ what, errno })))
        expect(() => vm.deleteMemslot(2)).toFailWith('EINVAL')
        vm.deleteMemslot(1)
        expect(() => bind(0n, pages(8))).not.toThrow()
      },
    )

    test('leaves the pages just before and just behind it for others', { needs: bindable }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(8) })
      bindMiddle(vm, file)

      const before = { slot: 2, gpa: HIGH, size: pages(2), guestMemfd: file, guestMemfdOffset: pages(0) }
      const behind = {
        slot: 3,
        gpa: gpa(HIGH + pages(4)),
        size: pages(2),
        guestMemfd: file,
        guestMemfdOffset: pages(6),
      }

      expect(() => vm.setMemslot(before)).not.toThrow()
      expect(() => vm.setMemslot(behind)).not.toThrow()
    })

    test('is free again, each page of it, when the slot is deleted', { needs: bindable }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      const refused = FREED.filter(({ first, count }) => {
        using file = vm.createGuestMemfd({ size: pages(128) })
        const bind = (slot: number, page: number, size: Bytes) =>
          vm.setMemslot({ slot, gpa: HIGH, size, guestMemfd: file, guestMemfdOffset: pages(page) })
        bind(1, first, pages(count))
        vm.deleteMemslot(1)

        const errnos = Array.from({ length: count }, (_, index) =>
          errnoOf(() => {
            bind(2, first + index, pages(1))
            vm.deleteMemslot(2)
          }),
        )
        return errnos.some((errno) => errno !== '')
      })

      expect(refused).toEqual([])
    })
  })

  test('is no obstacle to the same range of another file', { needs: [sharedGuestMemfd] }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(8) })
    using other = vm.createGuestMemfd({ size: pages(8) })
    bindMiddle(vm, file)

    expect(() =>
      vm.setMemslot({ slot: 2, gpa: HIGH, size: pages(4), guestMemfd: other, guestMemfdOffset: pages(2) }),
    ).not.toThrow()
  })
})

// gpa ranges beside slot 1 at LOW, four pages long.
const GPA_TAKEN = [
  { what: 'the same range', from: LOW, size: pages(4) },
  { what: 'its first page, from before', from: gpa(LOW - pages(1)), size: pages(2) },
  { what: 'its last page, to behind', from: gpa(LOW + pages(3)), size: pages(2) },
]

describe('a range of gpas that a memslot with a guest_memfd has', () => {
  onEveryVmType(({ type, bindable }) => {
    test("cannot be another's, not one page of it: EEXIST", { needs: bindable }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4) })
      using other = vm.createGuestMemfd({ size: pages(4) })
      vm.setMemslot({ slot: 1, gpa: LOW, size: pages(4), guestMemfd: file })
      const add = (from: Gpa, size: Bytes) => vm.setMemslot({ slot: 2, gpa: from, size, guestMemfd: other })

      const seen = GPA_TAKEN.map(({ what, from, size }) => ({ what, errno: errnoOf(() => add(from, size)) }))

      expect(seen).toEqual(GPA_TAKEN.map(({ what }) => ({ what, errno: 'EEXIST' })))
      vm.deleteMemslot(1)
      expect(() => add(LOW, pages(4))).not.toThrow()
    })

    test('leaves the pages just before and just behind for others', { needs: bindable }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(8) })
      vm.setMemslot({ slot: 1, gpa: LOW, size: pages(4), guestMemfd: file })

      expect(() =>
        vm.setMemslot({
          slot: 2,
          gpa: gpa(LOW - pages(1)),
          size: pages(1),
          guestMemfd: file,
          guestMemfdOffset: pages(4),
        }),
      ).not.toThrow()
      expect(() =>
        vm.setMemslot({
          slot: 3,
          gpa: gpa(LOW + pages(4)),
          size: pages(1),
          guestMemfd: file,
          guestMemfdOffset: pages(5),
        }),
      ).not.toThrow()
    })

    test('is found taken before the fd is looked at', { needs: bindable }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4) })
      vm.setMemslot({ slot: 1, gpa: LOW, size: pages(4), guestMemfd: file })
      const bind = (from: typeof LOW) =>
        vm.setMemslot({ slot: 2, gpa: from, size: pages(4), guestMemfd: UNUSED_FD })

      expect(() => bind(LOW)).toFailWith('EEXIST')
      expect(() => bind(HIGH)).toFailWith('EBADF')
    })

    test('cannot be an ordinary memslot too, nor the other way round', { needs: bindable }, ({ kvm }) => {
      using vm = kvm.createVm({ type })
      using file = vm.createGuestMemfd({ size: pages(4) })
      vm.setMemslot({ slot: 1, gpa: LOW, size: pages(4), guestMemfd: file })
      vm.setMemslot({ slot: 2, gpa: HIGH, size: pages(4) })

      expect(() => vm.setMemslotV1({ slot: 3, gpa: LOW, size: pages(1) })).toFailWith('EEXIST')
      vm.deleteMemslot(1)
      expect(() => vm.setMemslot({ slot: 1, gpa: HIGH, size: pages(4), guestMemfd: file })).toFailWith(
        'EEXIST',
      )
    })
  })
})
