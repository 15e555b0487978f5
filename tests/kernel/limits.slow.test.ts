// SPDX-License-Identifier: Apache-2.0
import { readFileSync, writeFileSync } from 'node:fs'
import { scaledMs } from 'gmem/kvm'
import { cap, describe, expect, gpaAdd, guestMemfd, need, pages, test } from 'gmem/testing'
import { BASE, privateMemory } from './support/conversion.js'
import { startChild } from './support/conversion-child.js'
import { ownVm } from './support/own-vm.js'

const FILE_MAX = '/proc/sys/fs/file-max'
const notEmulated = need('a processor that is not emulated', () =>
  scaledMs(1) > 1 ? 'so many memslots take it minutes' : null,
)
/** Of the 32764 that KVM_CAP_NR_MEMSLOTS allows. */
const MEMSLOTS = 1000
/** Nobody. */
const UID = 65534

/** Makes a guest_memfd again and again, as a user whom the limit on open files concerns; says so the first time, and what ends it. */
const CREATING = `
  const vm = addon.openKvm('/dev/kvm').createVm(0n)
  process.setuid(${UID})
  let made = 0
  const create = () => {
    try {
      vm.createGuestMemfd(4096n, 0n).close()
    } catch (error) {
      return process.stdout.write(error.message + '\\n')
    }
    made += 1
    if (made === 1) process.stdout.write('made\\n')
    setTimeout(create, 10)
  }
  create()
`

describe('limits', () => {
  test('a thousand memslots bind one file, and all of them are converted and punched at once', {
    needs: privateMemory,
  }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    // Every second page of the guest, so that no two memslots touch; the monitor has id 0.
    const gpaOf = (slot: number) => gpaAdd(BASE, pages(2 * slot))
    using file = vm.createGuestMemfd({ size: pages(MEMSLOTS + 1) })
    for (let slot = 1; slot <= MEMSLOTS; slot += 1) {
      const guestMemfdOffset = pages(slot)
      vm.setMemslot({ slot, gpa: gpaOf(slot), size: pages(1), guestMemfd: file, guestMemfdOffset })
    }
    using vcpu = vm.createVcpu()
    const some = [1, MEMSLOTS / 2, MEMSLOTS]

    vm.setPrivate({ gpa: gpaOf(1), size: pages(2 * MEMSLOTS) })
    for (const slot of some) await vcpu.write64(gpaOf(slot), BigInt(slot))
    for (const slot of some) expect(await vcpu.read64(gpaOf(slot))).toBe(BigInt(slot))
    file.punchHole()

    for (const slot of some) expect(await vcpu.read64(gpaOf(slot))).toBe(0n)
  })

  test('every memslot that KVM_CAP_NR_MEMSLOTS offers can be added, and no other', {
    needs: [cap('NR_MEMSLOTS'), notEmulated],
  }, ({ kvm }) => {
    using vm = kvm.createVm()
    const count = vm.capability('NR_MEMSLOTS')
    const add = (slot: number) => vm.setMemslot({ slot, gpa: gpaAdd(BASE, pages(slot)), size: pages(1) })

    for (let slot = 0; slot < count; slot += 1) add(slot)

    expect(() => add(count)).toFailWith('EINVAL')
  })

  test('KVM_CREATE_GUEST_MEMFD fails with ENFILE where the system has all the open files that it may have', {
    needs: [guestMemfd(), ownVm],
  }, async ({ defer }) => {
    const before = readFileSync(FILE_MAX, 'latin1')
    const child = startChild(CREATING)
    defer(() => child.kill())
    defer(() => writeFileSync(FILE_MAX, before))
    await child.says('made')

    writeFileSync(FILE_MAX, '1')

    await child.says('ENFILE')
  })
})
