// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from 'node:fs'
import { bytes, describe, expect, mib, sharedGuestMemfd, test } from 'gmem/testing'
import { BASE, privateMemory } from './support/conversion.js'
import { MemoryCgroup, memoryCgroup } from './support/memory-cgroup.js'

const SHARED = { mmap: true, initShared: true }
const SIZE = mib(8)

// Slow: a memory cgroup's numbers are up to two seconds old.
describe('pages of a guest_memfd are charged as page cache', () => {
  test('when they are allocated, and no more when they are punched', {
    needs: [sharedGuestMemfd, ...memoryCgroup],
  }, async (context) => {
    const cgroup = new MemoryCgroup(context)
    using vm = context.kvm.createVm()
    using file = vm.createGuestMemfd({ size: SIZE, flags: SHARED })
    const created = cgroup.stat('file')

    file.allocate()
    const allocated = await cgroup.reaches('file', created + SIZE)
    file.punchHole({ offset: bytes(0), size: mib(4) })
    const half = await cgroup.reaches('file', created + mib(4))

    expect(allocated - created).toBe(SIZE)
    expect(half - created).toBe(mib(4))
  })

  test('when the guest touches them, to its vCPU, and until the file is gone', {
    needs: [...privateMemory, ...memoryCgroup],
  }, async (context) => {
    const cgroup = new MemoryCgroup(context)
    const before = cgroup.stat('file')
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: SIZE, guestMemfd: {} })
    vm.setPrivate(memory)
    using vcpu = vm.createVcpu()

    await vcpu.fill(memory, 0x77)
    const touched = await cgroup.reaches('file', before + SIZE)
    vm.setShared(memory)
    const shared = cgroup.stat('file')
    memory.remove()
    memory.guestMemfd.close()

    expect(touched - before).toBe(SIZE)
    expect(shared).toBe(touched)
    expect(await cgroup.reaches('file', before)).toBe(before)
  })

  test('when the host touches them', { needs: [sharedGuestMemfd, ...memoryCgroup] }, async (context) => {
    const cgroup = new MemoryCgroup(context)
    using vm = context.kvm.createVm()
    const mapping = vm.createGuestMemfd({ size: SIZE, flags: SHARED }).mmap()
    const mapped = cgroup.stat('file')

    mapping.fill(0x77)

    expect((await cgroup.reaches('file', mapped + SIZE)) - mapped).toBe(SIZE)
    expect(await cgroup.reaches('unevictable', SIZE)).toBeGreaterThan(0n)
  })

  test('and stay so when the host drops its caches, though nobody has touched them', {
    needs: [sharedGuestMemfd, ...memoryCgroup],
  }, async (context) => {
    const cgroup = new MemoryCgroup(context)
    using vm = context.kvm.createVm()
    using file = vm.createGuestMemfd({ size: SIZE, flags: SHARED })
    const created = cgroup.stat('file')
    file.allocate()
    const allocated = await cgroup.reaches('file', created + SIZE)

    writeFileSync('/proc/sys/vm/drop_caches', '1')

    // So many pages at once would be in the statistics at once.
    expect(allocated - created).toBe(SIZE)
    expect(cgroup.stat('file')).toBe(allocated)
  })
})
