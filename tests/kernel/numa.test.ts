// SPDX-License-Identifier: Apache-2.0
import { MPOL_BIND, MPOL_DEFAULT, MPOL_INTERLEAVE } from 'gmem/abi'
import {
  describe,
  expect,
  guestMemfdFlag,
  kernelAtLeast,
  numaNodes,
  pages,
  sharedGuestMemfd,
  tdp,
  test,
} from 'gmem/testing'
import { BASE } from './support/conversion.js'
import { nodesOf, policyAt, setPolicy } from './support/numa.js'
import { remainder } from './support/prefault.js'

const SHARED = { mmap: true, initShared: true }
const policies = [sharedGuestMemfd, kernelAtLeast('6.19')]
const placing = [...policies, numaNodes(2)]
/** Masks of nodes. */
const NODE0 = 0b01
const NODE1 = 0b10

const FIRST_HALF = { offset: pages(0), size: pages(2) }
const SECOND_HALF = { offset: pages(2), size: pages(2) }
const ALL = { offset: pages(0), size: pages(4) }

// The policy is the file's, by offset, not the mapping's (kvm_gmem_set_policy(), virt/kvm/guest_memfd.c, since 6.19).
describe('mbind(2) of a mapped guest_memfd', () => {
  test('is remembered for exactly its pages', { needs: policies }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
    const mapping = file.mmap()

    const before = policyAt(mapping, pages(0))
    setPolicy(mapping, FIRST_HALF, MPOL_INTERLEAVE, NODE0)
    setPolicy(mapping, SECOND_HALF, MPOL_BIND, NODE0)

    expect(before).toEqual({ mode: MPOL_DEFAULT, nodes: 0 })
    expect(policyAt(mapping, pages(1))).toEqual({ mode: MPOL_INTERLEAVE, nodes: NODE0 })
    expect(policyAt(mapping, pages(2))).toEqual({ mode: MPOL_BIND, nodes: NODE0 })
  })

  test('to MPOL_DEFAULT forgets what was set', { needs: policies }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
    const mapping = file.mmap()
    setPolicy(mapping, ALL, MPOL_BIND, NODE0)

    setPolicy(mapping, FIRST_HALF, MPOL_DEFAULT, 0)

    expect(policyAt(mapping, pages(1))).toEqual({ mode: MPOL_DEFAULT, nodes: 0 })
    expect(policyAt(mapping, pages(2))).toEqual({ mode: MPOL_BIND, nodes: NODE0 })
  })

  test('is seen through every mapping of the file, at the same page of it', { needs: policies }, ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
    const mapping = file.mmap()
    const shifted = file.mmap({ offset: pages(2) })

    setPolicy(mapping, SECOND_HALF, MPOL_BIND, NODE0)
    mapping.close()

    expect(policyAt(shifted, pages(0))).toEqual({ mode: MPOL_BIND, nodes: NODE0 })
    expect(policyAt(file.mmap(), pages(1))).toEqual({ mode: MPOL_DEFAULT, nodes: 0 })
  })

  test('works where the host may not touch a page', {
    needs: [guestMemfdFlag.mmap(), kernelAtLeast('6.19')],
  }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: { mmap: true } })
    const mapping = file.mmap()

    setPolicy(mapping, FIRST_HALF, MPOL_BIND, NODE0)

    expect(policyAt(mapping, pages(1))).toEqual({ mode: MPOL_BIND, nodes: NODE0 })
    expect(mapping.probe(pages(0))).toBeSignal('SIGBUS')
  })

  test('refuses a policy that there is not, and a node that is not there, with EINVAL', {
    needs: policies,
  }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
    const mapping = file.mmap()
    setPolicy(mapping, ALL, MPOL_BIND, NODE0)

    expect(() => setPolicy(mapping, ALL, 999, NODE0)).toFailWith('EINVAL')
    expect(() => setPolicy(mapping, ALL, MPOL_BIND, 0)).toFailWith('EINVAL')

    expect(policyAt(mapping, pages(3))).toEqual({ mode: MPOL_BIND, nodes: NODE0 })
  })
})

describe('pages of a guest_memfd come from the node of their policy', () => {
  test('where the host touches them first, and again after a hole and another policy', { needs: placing }, ({
    kvm,
  }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
    const mapping = file.mmap()
    setPolicy(mapping, FIRST_HALF, MPOL_BIND, NODE1)
    setPolicy(mapping, SECOND_HALF, MPOL_BIND, NODE0)
    const first = nodesOf(mapping, ALL)

    setPolicy(mapping, FIRST_HALF, MPOL_BIND, NODE0)
    setPolicy(mapping, SECOND_HALF, MPOL_BIND, NODE1)
    const untouched = nodesOf(mapping, ALL)
    file.punchHole()
    const again = nodesOf(mapping, ALL)

    expect(first).toEqual([1, 1, 0, 0])
    expect(untouched).toEqual(first)
    expect(again).toEqual([0, 0, 1, 1])
  })

  test('where fallocate(2) allocates them', { needs: placing }, ({ kvm }) => {
    using vm = kvm.createVm()
    using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED })
    const mapping = file.mmap()
    setPolicy(mapping, FIRST_HALF, MPOL_BIND, NODE1)
    setPolicy(mapping, SECOND_HALF, MPOL_BIND, NODE0)

    file.allocate()
    setPolicy(mapping, ALL, MPOL_DEFAULT, 0)

    expect(nodesOf(mapping, ALL)).toEqual([1, 1, 0, 0])
  })

  test('where the guest touches them first, or KVM_PRE_FAULT_MEMORY does', {
    needs: [...placing, tdp],
  }, async ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(4), guestMemfd: SHARED, userspace: null })
    const mapping = memory.guestMemfd.mmap()
    setPolicy(mapping, ALL, MPOL_BIND, NODE1)
    using vcpu = vm.createVcpu()

    await vcpu.fill(memory.range(pages(0), pages(2)), 0x77)
    const prefaulted = vcpu.preFault(memory.range(pages(2), pages(2)))
    setPolicy(mapping, ALL, MPOL_BIND, NODE0)

    expect(prefaulted).toEqual(remainder('', { gpa: memory.gpaOf(pages(4)), size: pages(0) }))
    expect(nodesOf(mapping, ALL)).toEqual([1, 1, 1, 1])
  })
})
