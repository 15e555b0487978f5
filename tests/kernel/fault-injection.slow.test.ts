// SPDX-License-Identifier: Apache-2.0
import {
  KVM_CREATE_GUEST_MEMFD,
  KVM_MEM_GUEST_MEMFD,
  KVM_MEMORY_ATTRIBUTE_PRIVATE,
  KVM_SET_MEMORY_ATTRIBUTES,
  KVM_SET_USER_MEMORY_REGION2,
  kvm_create_guest_memfd,
  kvm_memory_attributes,
  kvm_userspace_memory_region2,
} from 'gmem/abi'
import { binding, type GuestMemfd, type Kvm, type Memory, type NativeCall, type Vm } from 'gmem/kvm'
import { bytes, describe, expect, gpaAdd, guestMemfd, mib, pages, test, thp } from 'gmem/testing'
import { BASE, convertibleMemory, errnoOf, privateMemory } from './support/conversion.js'
import {
  butPages,
  FaultInjection,
  faultInjection,
  outcomes,
  type Scene,
  wronglyFailed,
  XA_NODE_BYTES,
} from './support/fault-injection.js'
import { call } from './support/races.js'
import { openFds } from './support/system-calls.js'

const needs = [...faultInjection, ...privateMemory]
const SLOT = 7
/** Over several nodes of an xarray, of 64 entries each, and aligned to none. */
const COUNT = 200
const OFFSET = pages(3)
const RANGE = { gpa: BASE, size: pages(COUNT) }
const ELSEWHERE = gpaAdd(BASE, mib(16))

function setAttributes(vm: Vm, memory: Memory, attributes: bigint): NativeCall {
  const argument = kvm_memory_attributes.encode({ address: memory.gpa, size: memory.size, attributes })
  return call('ioctl', vm.fd, KVM_SET_MEMORY_ATTRIBUTES, argument)
}

function bind(vm: Vm, file: GuestMemfd): NativeCall {
  const argument = kvm_userspace_memory_region2.encode({
    slot: SLOT,
    flags: KVM_MEM_GUEST_MEMFD,
    guest_phys_addr: BASE,
    memory_size: RANGE.size,
    guest_memfd: file.fd,
    guest_memfd_offset: OFFSET,
  })
  return call('ioctl', vm.fd, KVM_SET_USER_MEMORY_REGION2, argument)
}

/** Whether a page of the range that is bound, or would be, can be bound by itself. */
function isFree(vm: Vm, file: GuestMemfd, page: number): boolean {
  const range = { gpa: ELSEWHERE, size: pages(1), guestMemfd: file }
  const code = errnoOf(() => {
    vm.setMemslot({ ...range, slot: SLOT + 1, guestMemfdOffset: bytes(OFFSET + pages(page)) })
    vm.deleteMemslot(SLOT + 1)
  })
  return code === ''
}

/** Binds a new file each time: what an older one has allocated for its bindings is not allocated again. */
function bindingAnew(vm: Vm): Scene {
  return async (inject) => {
    using file = vm.createGuestMemfd({ size: pages(3 + COUNT) })
    const { code } = await inject(bind(vm, file))

    const free = [0, COUNT - 1].map((page) => isFree(vm, file, page))
    expect(free).toEqual([code !== '', code !== ''])
    expect(errnoOf(() => vm.deleteMemslot(SLOT))).toBe(code === '' ? '' : 'EINVAL')
    // Nothing is in the way: neither a memslot of the id nor a binding of the file's range.
    vm.setMemslot({ ...RANGE, slot: SLOT, guestMemfd: file, guestMemfdOffset: OFFSET })
    vm.deleteMemslot(SLOT)
  }
}

/** Makes shared memory private: a guest sees all of it as one or the other. */
function settingAttributes(kvm: Kvm): Scene {
  return async (inject) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, COUNT, 0xaa)
    using vcpu = vm.createVcpu()
    const { code } = await inject(setAttributes(vm, memory, KVM_MEMORY_ATTRIBUTE_PRIVATE))

    await expect(vcpu).toSeeFilledWith(code === '' ? 0 : 0xaa, memory)
  }
}

// What KVM, or the memory management below it, allocates, copies from userspace or copies back: ENOMEM or EFAULT where that fails, or
// success where the kernel has another way. Nothing is changed by half, and nothing is lost (the harness counts).
describe('with one allocation or copy failing, each in turn,', () => {
  test('KVM_CREATE_GUEST_MEMFD makes a file, or leaves nothing', {
    needs: [...faultInjection, guestMemfd()],
  }, async (context) => {
    using vm = context.kvm.createVm()
    const argument = kvm_create_guest_memfd.encode({ size: pages(4) })
    const before = openFds()

    const seen = await new FaultInjection(context).eachPlace(async (inject) => {
      const { code, value } = await inject(call('ioctl', vm.fd, KVM_CREATE_GUEST_MEMFD, argument))
      expect(openFds() - before).toBe(code === '' ? 1 : 0)
      expect(errnoOf(() => binding.addon.close(Number(value)))).toBe(code === '' ? '' : 'EBADF')
    })

    expect(wronglyFailed(seen)).toEqual([])
    expect(outcomes(seen)).toContain('failslab ENOMEM')
    expect(outcomes(seen)).toContain('fail_usercopy EFAULT')
  })

  test('KVM_SET_USER_MEMORY_REGION2 binds a file, or leaves neither memslot nor binding', {
    needs,
  }, async (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })

    const seen = await new FaultInjection(context).eachPlace(bindingAnew(vm))

    expect(wronglyFailed(seen)).toEqual([])
    expect(outcomes(seen)).toContain('failslab ENOMEM')
    expect(outcomes(seen)).toContain('fail_usercopy EFAULT')
  })

  test('KVM_SET_USER_MEMORY_REGION2 deletes a memslot, or leaves it as it was', {
    needs,
  }, async (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    vm.setPrivate(RANGE)
    using vcpu = vm.createVcpu()

    const seen = await new FaultInjection(context).eachPlace(async (inject) => {
      using file = vm.createGuestMemfd({ size: RANGE.size })
      vm.setMemslot({ ...RANGE, slot: SLOT, guestMemfd: file })
      await vcpu.write64(BASE, 7n)
      const argument = kvm_userspace_memory_region2.encode({ slot: SLOT })
      const { code } = await inject(call('ioctl', vm.fd, KVM_SET_USER_MEMORY_REGION2, argument))

      const restored = errnoOf(() => vm.setMemslot({ ...RANGE, slot: SLOT, guestMemfd: file }))
      expect(restored).toBe(code === '' ? '' : 'EINVAL')
      expect(await vcpu.read64(BASE)).toBe(7n)
      vm.deleteMemslot(SLOT)
    })

    expect(wronglyFailed(seen)).toEqual([])
    expect(outcomes(butPages(seen))).toEqual(new Set(['fail_usercopy EFAULT', 'failslab ENOMEM', 'nowhere']))
  })

  // xas_nomem() tries again what failed under the xarray's lock.
  test('KVM_SET_MEMORY_ATTRIBUTES makes all of a range private in spite of it', {
    needs,
  }, async (context) => {
    const seen = await new FaultInjection(context).eachPlace(settingAttributes(context.kvm))

    expect(outcomes(butPages(seen))).toEqual(new Set(['fail_usercopy EFAULT', 'failslab', 'nowhere']))
    expect(seen.filter(({ code }) => code === 'ENOMEM')).toEqual([])
  })

  test('KVM_SET_MEMORY_ATTRIBUTES that clears allocates nothing', { needs }, async (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = convertibleMemory(vm, COUNT, 0xaa)

    const seen = await new FaultInjection(context).eachPlace(async (inject) => {
      vm.setPrivate(memory)
      await inject(setAttributes(vm, memory, 0n))
    })

    expect(outcomes(seen)).toEqual(new Set(['fail_usercopy EFAULT', 'nowhere']))
  })
})

describe('with all allocations failing from one on, each in turn,', () => {
  test('KVM_SET_MEMORY_ATTRIBUTES makes nothing of a range private', { needs }, async (context) => {
    const injection = new FaultInjection(context)

    const seen = await injection.eachAmount(XA_NODE_BYTES, settingAttributes(context.kvm))

    expect(wronglyFailed(seen)).toEqual([])
    // A node for each of the four that the range touches, and those above.
    expect(seen.filter(({ code }) => code === 'ENOMEM').length).toBeGreaterThanOrEqual(4)
  })

  test('KVM_SET_USER_MEMORY_REGION2 binds nothing of a file', { needs }, async (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })

    const seen = await new FaultInjection(context).eachAmount(XA_NODE_BYTES / 2, bindingAnew(vm))

    expect(wronglyFailed(seen)).toEqual([])
    expect(seen.filter(({ code }) => code === 'ENOMEM').length).toBeGreaterThanOrEqual(4)
  })

  test('KVM_SET_MEMORY_ATTRIBUTES leaves nothing that keeps huge pages away', {
    needs: [...needs, thp],
  }, async (context) => {
    const injection = new FaultInjection(context)

    await injection.eachAmount(XA_NODE_BYTES, async (inject) => {
      using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = vm.addMemory({ gpa: BASE, size: mib(2), guestMemfd: {}, backing: 'thp' })
      memory.shared.fill(0xaa)
      using vcpu = vm.createVcpu()
      await inject(setAttributes(vm, memory, KVM_MEMORY_ATTRIBUTE_PRIVATE))
      vm.setPrivate(memory.range(pages(1), pages(1)))
      vm.setShared(memory.range(pages(1), pages(1)))
      vm.setShared(memory.range(pages(2), pages(510)))
      vm.setShared(memory.range(pages(0), pages(1)))

      await vcpu.read8(BASE)
      expect(vm.stat('pages_2m')).toBe(1n)
    })
  })
})
