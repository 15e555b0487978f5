// SPDX-License-Identifier: Apache-2.0
import { O_RDWR } from 'gmem/abi'
import { binding, convertWithRetry } from 'gmem/kvm'
import { cases, describe, expect, type GmemContext, PAGE_SIZE, pages, test } from 'gmem/testing'
import { inPlace, residence, sharedMemory, sharingOf } from './support/inplace.js'
import { pageOf } from './support/pins.js'
import { INCOMING, transferKinds } from './support/transfers.js'
import { stalledPage, userFaults } from './support/user-faults.js'

// facts/inplace-conversion-abi.md, section 2, row 12; section 3, conversion to private, partial failure. Who holds pages, and how long, is
// the kernel's other half: block/fops.c, net/core/skbuff.c, mm/process_vm_access.c, fs/proc/base.c, all 7.3.4.
const needs = inPlace

const SEED = 0x5ec2e7n
const PAGES = 8
const USED = 5

const named = ({ what }: { readonly what: string }) => what
const needsOf = (row: (typeof transferKinds)[number]) => ({ needs: [...needs, ...row.needs] })

describe('a conversion to private of many pages, one of which an I/O is using', () => {
  cases(
    transferKinds,
    (row) => `fails with EAGAIN and its offset, and succeeds once it is over: ${named(row)}`,
    needsOf,
    async (context, { start, direction }) => {
      using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = sharedMemory(vm, PAGES, SEED)
      using vcpu = vm.createVcpu()
      const expected = { out: pageOf(memory.shared, USED), in: new Uint8Array(4096).fill(INCOMING) }[
        direction
      ]
      const convert = () => memory.guestMemfd.convert(memory, 'private')
      const transfer = start(context, memory.shared, pages(USED))

      expect(convert).toThrow(expect.objectContaining({ code: 'EAGAIN', errorOffset: pages(USED) }))
      const [refused, resident] = [sharingOf(memory.shared), residence(memory.shared)]
      const arrived = await transfer.finish()
      // Some let go of the page a little after they say that they are done.
      await convertWithRetry(
        memory.guestMemfd,
        { range: memory, to: 'private' },
        { signal: context.signal, release: () => {} },
      )

      expect([refused, resident]).toEqual(['SSSSSSSS', '11111111'])
      expect(arrived).toEqual(expected)
      expect(sharingOf(memory.shared)).toBe('PPPPPPPP')
      await expect(vcpu).toSeePattern(SEED, memory.range(pages(0), pages(USED)))
      expect(await vcpu.read64(memory.gpaOf(pages(USED)))).toBe(
        new DataView(expected.buffer).getBigUint64(0, true),
      )
      await expect(vcpu).toSeePattern(SEED, memory.range(pages(USED + 1), pages(2)))
    },
  )

  cases(
    transferKinds.filter(({ isTimed }) => isTimed !== true),
    (row) => `succeeds for the pages beside it, to private and back to shared: ${named(row)}`,
    needsOf,
    async (context, { start }) => {
      using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = sharedMemory(vm, PAGES, SEED)
      const transfer = start(context, memory.shared, pages(USED))

      memory.guestMemfd.convert(memory.range(pages(0), pages(USED)), 'private')
      memory.guestMemfd.convert(memory.range(pages(USED + 1), pages(2)), 'private')
      const around = sharingOf(memory.shared)
      memory.guestMemfd.convert(memory, 'shared')
      const after = sharingOf(memory.shared)
      await transfer.finish()

      expect([around, after]).toEqual(['PPPPPSPP', 'SSSSSSSS'])
    },
  )
})

// mem_rw() copies by way of a page of its own, and holds the other process's page only while it does.
test('a read of /proc/self/mem that cannot go on holds no page: the conversion succeeds, the read gives what was there', {
  needs: [...needs, userFaults],
}, async (context) => {
  using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
  const memory = sharedMemory(vm, PAGES, SEED)
  using vcpu = vm.createVcpu()
  const expected = pageOf(memory.shared, USED)
  const local = stalledPage(context)
  const fd = openMem(context)
  const reading = local.stall('pread64', [fd, local.mapping.hva, PAGE_SIZE, memory.shared.hvaOf(pages(USED))])

  memory.guestMemfd.convert(memory, 'private')
  local.resume(new Uint8Array(Number(PAGE_SIZE)))

  expect(await reading).toBe(PAGE_SIZE)
  expect(pageOf(local.mapping, 0)).toEqual(expected)
  expect(sharingOf(memory.shared)).toBe('PPPPPPPP')
  await expect(vcpu).toSeePattern(SEED, memory)
})

test('a write of /proc/self/mem that cannot go on finds the page private when it can: EIO, and no byte of it is there', {
  needs: [...needs, userFaults],
}, async (context) => {
  using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
  const memory = sharedMemory(vm, PAGES, SEED)
  using vcpu = vm.createVcpu()
  const local = stalledPage(context)
  const fd = openMem(context)
  const writing = local.stall('pwrite64', [
    fd,
    local.mapping.hva,
    PAGE_SIZE,
    memory.shared.hvaOf(pages(USED)),
  ])

  memory.guestMemfd.convert(memory, 'private')
  local.resume(new Uint8Array(Number(PAGE_SIZE)).fill(INCOMING))

  await expect(writing).rejects.toThrow('EIO')
  await expect(vcpu).toSeePattern(SEED, memory)
})

function openMem({ defer }: Pick<GmemContext, 'defer'>): number {
  const fd = binding.addon.open('/proc/self/mem', O_RDWR, 0)
  defer(() => binding.addon.close(fd))
  return fd
}
