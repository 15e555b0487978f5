// SPDX-License-Identifier: Apache-2.0
import {
  FALLOC_FL_KEEP_SIZE,
  KVM_EXIT,
  KVM_PRE_FAULT_MEMORY,
  KVM_RUN,
  kvm_pre_fault_memory,
  MADV_POPULATE_WRITE,
} from 'gmem/abi'
import { Mapping } from 'gmem/kvm'
import { bytes, describe, expect, mib, pages, sharedGuestMemfd, test } from 'gmem/testing'
import { BASE, privateMemory } from './support/conversion.js'
import { exitReasonOf } from './support/exit-reason.js'
import { memoryCgroup } from './support/memory-cgroup.js'
import { MemoryLimit } from './support/memory-limit.js'
import { privateKind } from './support/prefault.js'
import { call } from './support/races.js'

const SHARED = { mmap: true, initShared: true }
const LIMIT = mib(4)
const SIZE = mib(16)

// A charge that the limit does not allow, in a process that may not be killed for it: mm/memcontrol.c, try_charge_memcg().
describe('at the limit of a memory cgroup', () => {
  test('fallocate(2) fails with ENOMEM, keeps what it has allocated, and goes on from there elsewhere', {
    needs: [sharedGuestMemfd, ...memoryCgroup],
  }, async (context) => {
    using vm = context.kvm.createVm()
    using file = vm.createGuestMemfd({ size: SIZE, flags: SHARED })
    const limit = new MemoryLimit(context, LIMIT)

    const { code } = await limit.within(call('fallocate', file.fd, FALLOC_FL_KEEP_SIZE, 0, SIZE))

    const kept = limit.charged()
    expect(code).toBe('ENOMEM')
    expect(kept).toBeGreaterThan(0n)
    expect(kept).toBeLessThanOrEqual(LIMIT)
    file.allocate()
    expect(file.mmap()).toBeFilledWith(0)
  })

  test('the host’s stores fail with ENOMEM, and work elsewhere', {
    needs: [sharedGuestMemfd, ...memoryCgroup],
  }, async (context) => {
    using vm = context.kvm.createVm()
    using file = vm.createGuestMemfd({ size: SIZE, flags: SHARED })
    const mapping = file.mmap()
    const limit = new MemoryLimit(context, LIMIT)

    const { code } = await limit.within(call('madvise', mapping.hva, SIZE, MADV_POPULATE_WRITE))

    expect(code).toBe('ENOMEM')
    mapping.fill(0x3c)
    expect(mapping).toBeFilledWith(0x3c)
  })

  test('KVM_RUN fails with ENOMEM, its exit reason is MEMORY_FAULT, and the guest is resumed elsewhere', {
    needs: [...privateMemory, ...memoryCgroup],
  }, async (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: SIZE, guestMemfd: {}, userspace: null })
    using vcpu = vm.createVcpu()
    await vcpu.attempt.fill(memory, 0x77)
    vm.setPrivate(memory)
    const limit = new MemoryLimit(context, LIMIT)

    const { code } = await limit.within(call('ioctl', vcpu.fd, KVM_RUN, 0))

    expect(code).toBe('ENOMEM')
    expect(exitReasonOf(vcpu)).toBe(KVM_EXIT.MEMORY_FAULT)
    expect(await vcpu.resume()).toBeDone()
    await expect(vcpu).toSeeFilledWith(0x77, memory)
  })

  test('KVM_PRE_FAULT_MEMORY says how far it came, then fails with ENOMEM, and maps the rest elsewhere', {
    needs: [...privateKind.needs, ...memoryCgroup],
  }, async (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = privateKind.make(vm, 4096)
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    const struct = Mapping.anonymous(pages(1))
    context.defer(() => struct.close())
    struct.write(bytes(0), kvm_pre_fault_memory.encode({ gpa: memory.gpa, size: memory.size }))
    const prefault = call('ioctl', vcpu.fd, KVM_PRE_FAULT_MEMORY, struct.hva)
    const limit = new MemoryLimit(context, LIMIT)

    const first = await limit.within(prefault)
    const left = kvm_pre_fault_memory.decode(struct.read(bytes(0), kvm_pre_fault_memory.size))
    const second = await limit.within(prefault)

    expect([first.code, second.code]).toEqual(['', 'ENOMEM'])
    expect(left.size).toBeLessThan(memory.size)
    expect(left.size).toBeGreaterThanOrEqual(memory.size - LIMIT)
    expect(vcpu.preFault(memory)).toMatchObject({ code: '', size: 0n })
  })
})
