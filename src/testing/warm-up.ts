// SPDX-License-Identifier: Apache-2.0
import { bytes, gpa, Kvm, pages } from '../kvm/index.js'
import { hypercalls } from './hypercalls.js'
import { probeTarget } from './probe-target.js'

/**
 * Does once what nearly every test does, and probes the target: JavaScript is compiled at its first call, KVM's modules and the thread of
 * a vCPU are touched for the first time. For a worker whose VM is about to be saved. A target without KVM is left as it is.
 */
export async function warmUp(): Promise<void> {
  const target = probeTarget()
  if (target.kvmError !== '') return
  await hypercalls.unmet(target)
  using kvm = Kvm.open()
  const usable = target.vmTypes.filter(
    ({ error, preFault, guestMemfdMemslot }) => error === '' && preFault === '' && guestMemfdMemslot === '',
  )
  for (const type of usable) {
    using vm = kvm.createVm({ type: type.number })
    const memory = vm.addMemory({ gpa: gpa(0x1000_0000), size: pages(4), guestMemfd: {} })
    using vcpu = vm.createVcpu()
    memory.shared.fill(0x5a)
    memory.shared.findMismatch(0x5a)
    memory.shared.probe(bytes(0))
    if (type.privateAttribute === '') vm.setPrivate(memory.range(pages(1), pages(1)))
    // What a kernel does not allow here is left undone, and the next operation starts afresh.
    await vcpu.attempt.write64(memory.gpa, 1n)
    vcpu.reset()
    await vcpu.attempt.read64(memory.gpaOf(pages(1)))
    vcpu.reset()
    await vcpu.attempt.verify(memory.range(pages(2), pages(1)), 0x5a)
    vcpu.reset()
    memory.guestMemfd.punchHole()
    memory.remove()
  }
}
