// SPDX-License-Identifier: Apache-2.0
import { bytes, cases, describe, expect, pages } from 'gmem/testing'
import { BASE, privateMemory } from './support/conversion.js'
import { pageOf, pinKinds } from './support/pins.js'
import { INCOMING, transferKinds } from './support/transfers.js'

// Where VMs have the attributes, a page has two backings: what is private is the file's, and whoever holds the host's page holds the other
// one. kvm_vm_set_mem_attributes() (virt/kvm/kvm_main.c, 7.3.4) looks at no page. The counterpart of inplace-pins and inplace-transfers.
const needs = privateMemory

const SEED = 0x5ec2e7n
const PAGES = 8
const USED = 5

const named = ({ what }: { readonly what: string }) => what
const needsOf = (row: { readonly needs: typeof needs }) => ({ needs: [...needs, ...row.needs] })

describe('a conversion by KVM_SET_MEMORY_ATTRIBUTES, with a page of the host in use', () => {
  cases(
    pinKinds,
    (row) => `succeeds for all pages, and back: ${named(row)}`,
    needsOf,
    async (context, { take }) => {
      using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = vm.addMemory({ gpa: BASE, size: pages(PAGES), guestMemfd: {} })
      memory.fillPattern(SEED)
      using vcpu = vm.createVcpu()
      const pin = take(context, memory.shared, pages(USED))

      vm.setPrivate(memory)
      await expect(vcpu).toSeeFilledWith(0, memory)
      const host = memory.verifyPattern(SEED)
      vm.setShared(memory)
      pin.release()

      expect(host).toBeNull()
      await expect(vcpu).toSeePattern(SEED, memory)
    },
  )

  cases(
    transferKinds,
    (row) => `succeeds, and the I/O moves the host’s bytes: ${named(row)}`,
    needsOf,
    async (context, { start, direction }) => {
      using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = vm.addMemory({ gpa: BASE, size: pages(PAGES), guestMemfd: {} })
      memory.fillPattern(SEED)
      using vcpu = vm.createVcpu()
      const expected = { out: pageOf(memory.shared, USED), in: new Uint8Array(4096).fill(INCOMING) }[
        direction
      ]
      const transfer = start(context, memory.shared, pages(USED))

      vm.setPrivate(memory)
      await vcpu.fill(memory, 0xbb)
      const arrived = await transfer.finish()

      expect(arrived).toEqual(expected)
      expect(memory.shared.probe(bytes(0))).toEqual({ ok: true, value: memory.gpa ^ SEED })
      await expect(vcpu).toSeeFilledWith(0xbb, memory)
    },
  )
})
