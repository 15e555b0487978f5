// SPDX-License-Identifier: Apache-2.0
import { expect, gpa, pages, test, vmType } from 'gmem/testing'

test('expects a wrong byte after a conversion', { needs: [vmType.swProtected] }, async ({ kvm }) => {
  using vm = kvm.createVm({ type: 'SW_PROTECTED' })
  const memory = vm.addMemory({ gpa: gpa(0x1000_0000), size: pages(16), guestMemfd: {} })
  using vcpu = vm.createVcpu()
  await vcpu.fill(memory, 0xaa)

  vm.setPrivate(memory.range(pages(3), pages(1)))

  await expect(vcpu).toSeeFilledWith(0xaa, memory)
})

test('is not concerned', () => {})
