// SPDX-License-Identifier: Apache-2.0
import { expect, gpa, pages, test, vmType } from 'gmem/testing'

test('converts all of a range whose first page is private', { needs: [vmType.swProtected] }, async ({
  kvm,
}) => {
  using vm = kvm.createVm({ type: 'SW_PROTECTED' })
  const memory = vm.addMemory({ gpa: gpa(0x1000_0000), size: pages(16), guestMemfd: {} })
  using vcpu = vm.createVcpu()
  memory.shared.fill(0xaa)
  vm.setPrivate(memory.range(pages(0), pages(1)))

  vm.setPrivate(memory)

  await expect(vcpu).toSeeFilledWith(0, memory)
})
