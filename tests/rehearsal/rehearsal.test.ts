// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { gpa, pages } from 'gmem/kvm'
import { expect, guestMemfd, setKvmParameter, test, vmType } from 'gmem/testing'

const CGROUPS = '/sys/fs/cgroup'
const GROUP = `${CGROUPS}/gmem-rehearsal`

/*
 * Not part of the contract: src/pool/rehearsal.ts runs this file in a VM that is about to be saved, and nobody looks at the results. It takes
 * every path that a test file takes (import, skip, failure, guest memory), so that copies of the VM have it loaded and compiled, and what
 * the kernel makes once and keeps is there already: it would look like a test's leak.
 */
setKvmParameter('gmem_in_place_conversion', 'Y')

test('a test passes', () => {
  expect(1n).toBe(1n)
})

test('a test fails', () => {
  expect({ gpa: 0x1000n }).toEqual({ gpa: 0x2000n })
})

test('a test is skipped', { needs: [vmType.tdx] }, () => {})

test('a refusal is matched', { needs: [guestMemfd()] }, ({ kvm }) => {
  using vm = kvm.createVm({ type: 'DEFAULT' })

  expect(() => vm.createGuestMemfd({ size: pages(0) })).toFailWith('EINVAL')
})

test('a guest runs', { needs: [vmType.swProtected] }, async ({ kvm }) => {
  using vm = kvm.createVm({ type: 'SW_PROTECTED' })
  const memory = vm.addMemory({ gpa: gpa(0x1000_0000), size: pages(4), guestMemfd: {} })
  using vcpu = vm.createVcpu()

  memory.shared.fill(0xaa)
  vm.setPrivate(memory.range(pages(1), pages(1)))

  await vcpu.write64(memory.gpaOf(pages(1)), 7n)
  expect(await vcpu.read64(memory.gpaOf(pages(1)))).toBe(7n)
  expect(memory.shared.probe(pages(0)).ok).toBe(true)
})

// The first one has the kernel make another chunk of per-CPU memory, with 2 MiB that no counter names (mm/percpu.c, pcpu_create_chunk()).
test('a memory cgroup comes and goes', () => {
  writeFileSync(`${CGROUPS}/cgroup.subtree_control`, '+memory')
  mkdirSync(GROUP)
  rmdirSync(GROUP)
  writeFileSync(`${CGROUPS}/cgroup.subtree_control`, '-memory')
})
