// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { describePlanted } from './support/planted.js'

await describePlanted('what a test leaves behind', { fixture: 'leaks' }, (planted) => {
  test('fails that test, and no other', () => {
    expect(planted.run.outcomes).toEqual({
      'nothing before': 'passed',
      'a descriptor': 'failed KernelLeak/leak',
      'nothing after a descriptor': 'passed',
      'a VM': 'failed KernelLeak/leak',
      'the thread of a vCPU': 'failed KernelLeak/leak',
      'a VM whose descriptor is closed': 'failed KernelLeak/leak',
      'a guest_memfd whose descriptor is closed': 'failed KernelLeak/leak',
      'a page of a guest_memfd': 'failed KernelLeak/leak',
      'pages of the kernel': 'failed KernelLeak/leak',
      'slab objects of the kernel': 'failed KernelLeak/leak',
      'a leak and a failed assertion': 'failed AssertionError',
      'a leak and a WARN': 'failed KernelSplat/splat [WARN]',
      'nothing at the end': 'passed',
    })
    expect(planted.run.unhandled).toEqual([])
  })

  test.for([
    ['a descriptor', /^this test left behind: descriptor \d+ \(\/dev\/null\)$/],
    ['a VM', /descriptor \d+ \(anon_inode:kvm-vm\).*1 VMs/],
    ['the thread of a vCPU', /descriptor \d+ \(anon_inode:kvm-vcpu:0\).*1 threads/],
    ['a VM whose descriptor is closed', /^this test left behind: 1 VMs \(\/sys\/kernel\/debug\/kvm\)$/],
    // A page that was on no LRU list yet when its file went goes onto another list than one that was.
    [
      'a page of a guest_memfd',
      /^this test left behind: 4 KiB of (unevictable memory|pages that are in no file and no process any more)/,
    ],
    [
      'pages of the kernel',
      /^this test left behind: \d{3,4} KiB of pages that nothing accounts for, and as much each time it runs$/,
    ],
    [
      'slab objects of the kernel',
      /^this test left behind: \d+ KiB of unreclaimable slabs, and as much each time it runs$/,
    ],
  ] as const)('is named: %s', ([name, message]) => {
    expect(planted.run.test(name).errors[0]?.message).toMatch(message)
  })

  test('ends the life of its VM', () => {
    const { vms, tests } = planted.run
    // The first pass looks at what costs little. What it cannot pin on a test, a second pass does, which begins anew.
    expect(vms).toBeGreaterThan(tests.filter(({ state }) => state === 'failed').length)
  })
})
