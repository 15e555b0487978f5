// SPDX-License-Identifier: Apache-2.0
import {
  FALLOC_FL_KEEP_SIZE,
  KVM_EXIT,
  KVM_PRE_FAULT_MEMORY,
  KVM_RUN,
  kvm_pre_fault_memory,
  MADV_POPULATE_WRITE,
} from 'gmem/abi'
import { type Kvm, Mapping, type Vcpu } from 'gmem/kvm'
import {
  bytes,
  cases,
  describe,
  expect,
  type GmemContext,
  gpaAdd,
  pages,
  sharedGuestMemfd,
  test,
} from 'gmem/testing'
import { BASE, errnoOf, privateMemory } from './support/conversion.js'
import { exitReasonOf, setExitReason } from './support/exit-reason.js'
import {
  FaultInjection,
  faultInjection,
  outcomes,
  type Scene,
  wronglyFailed,
} from './support/fault-injection.js'
import { PREFAULT_KINDS, type PrefaultKind, privateKind } from './support/prefault.js'
import { call } from './support/races.js'
import { sys } from './support/system-calls.js'

const SHARED_FILE = { mmap: true, initShared: true }
/** A page whose place in the file's xarray takes nodes of its own. */
const FAR = 100
/** No exit reason of KVM's. */
const NO_REASON = 0x5eed
/** Of struct kvm_run: KVM_RUN returns at once. */
const IMMEDIATE_EXIT = 1

/** Prefaults memory on a new vCPU: what it says it mapped is mapped, and the next call maps the rest. */
function prefaulting(
  { kvm, defer }: Pick<GmemContext, 'kvm' | 'defer'>,
  kind: PrefaultKind,
  prepare: (vcpu: Vcpu) => Promise<void>,
): Scene {
  const struct = Mapping.anonymous(pages(1))
  defer(() => struct.close())
  return async (inject) => {
    using vm = kvm.createVm({ type: kind.type })
    const memory = kind.make(vm, 4)
    using vcpu = vm.createVcpu()
    await prepare(vcpu)
    const before = vm.stat('pages_4k')
    struct.write(bytes(0), kvm_pre_fault_memory.encode({ gpa: memory.gpa, size: memory.size }))
    const { code } = await inject(call('ioctl', vcpu.fd, KVM_PRE_FAULT_MEMORY, struct.hva))

    const mapped = pages(Number(vm.stat('pages_4k') - before))
    // Where the copy to or from userspace fails the struct is as it was.
    const done = code === 'EFAULT' ? 0n : mapped
    const left = kvm_pre_fault_memory.decode(struct.read(bytes(0), kvm_pre_fault_memory.size))
    expect(left).toMatchObject({ gpa: memory.gpa + done, size: memory.size - done })
    vcpu.preFault(memory)
    expect(vm.stat('pages_4k') - before).toBe(4n)
  }
}

/** A guest that stores to a private page. `look` sees each KVM_RUN's errno, or '', and its exit reason. */
function storing(kvm: Kvm, look: (code: string, exitReason: number) => void): Scene {
  const gpa = gpaAdd(BASE, pages(FAR))
  return async (inject) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    vm.addMemory({ gpa: BASE, size: pages(2 * FAR), guestMemfd: {}, userspace: null })
    using writer = vm.createVcpu()
    using reader = vm.createVcpu()
    vm.setPrivate({ gpa: BASE, size: pages(FAR) })
    await writer.attempt.write64(gpa, 7n)
    vm.setPrivate({ gpa, size: pages(1) })
    setExitReason(writer, NO_REASON)
    const { code } = await inject(call('ioctl', writer.fd, KVM_RUN, 0))
    look(code, exitReasonOf(writer))

    // A store that was made has left the guest with an exit of its own.
    if (code !== '') expect(await writer.resume()).toBeDone()
    expect(await reader.read64(gpa)).toBe(7n)
  }
}

// As fault-injection.slow.test.ts, for what allocates the pages themselves.
describe('with one allocation or copy failing, each in turn,', () => {
  test('fallocate(2) fails with ENOMEM, the next one works, and each page reads zero', {
    needs: [...faultInjection, sharedGuestMemfd],
  }, async (context) => {
    using vm = context.kvm.createVm()

    const seen = await new FaultInjection(context).eachPlace(async (inject) => {
      using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED_FILE })
      await inject(call('fallocate', file.fd, FALLOC_FL_KEEP_SIZE, 0, file.size))

      file.allocate()
      expect(file.mmap()).toBeFilledWith(0)
    })

    expect(wronglyFailed(seen)).toEqual([])
    expect(outcomes(seen)).toContain('fail_page_alloc ENOMEM')
  })

  test('the host’s first store fails with ENOMEM, the next one works, and each page reads zero', {
    needs: [...faultInjection, sharedGuestMemfd],
  }, async (context) => {
    using vm = context.kvm.createVm()

    const seen = await new FaultInjection(context).eachPlace(async (inject) => {
      using file = vm.createGuestMemfd({ size: pages(4), flags: SHARED_FILE })
      using mapping = file.mmap()
      await inject(call('madvise', mapping.hva, mapping.size, MADV_POPULATE_WRITE))

      expect(mapping).toBeFilledWith(0)
      expect(mapping.probeWrite(pages(3), 7n).ok).toBe(true)
    })

    expect(wronglyFailed(seen)).toEqual([])
    expect(outcomes(seen)).toContain('fail_page_alloc ENOMEM')
  })

  test('KVM_RUN of a guest that stores to a private page fails with ENOMEM, and the store is resumed', {
    needs: [...faultInjection, ...privateMemory],
  }, async (context) => {
    const seen = await new FaultInjection(context).eachPlace(storing(context.kvm, () => {}))

    expect(wronglyFailed(seen)).toEqual([])
    expect(outcomes(seen)).toContain('fail_page_alloc ENOMEM')
  })

  // api.rst: the exit reason of a KVM_RUN that fails otherwise than with EFAULT or EHWPOISON is to be taken as stale or undefined.
  test('KVM_RUN that fails with ENOMEM has the exit reason MEMORY_FAULT, and with EINTR the one from before', {
    needs: [...faultInjection, ...privateMemory],
  }, async (context) => {
    const reasons = new Map<string, Set<number>>()
    const look = (code: string, reason: number) =>
      reasons.set(code, (reasons.get(code) ?? new Set()).add(reason))

    await new FaultInjection(context).eachPlace(storing(context.kvm, look))
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    setExitReason(vcpu, NO_REASON)
    vcpu.writeRun(IMMEDIATE_EXIT, Uint8Array.of(1))
    const interrupted = errnoOf(() => sys('ioctl', vcpu.fd, KVM_RUN, 0))

    expect(reasons.get('ENOMEM')).toEqual(new Set([KVM_EXIT.MEMORY_FAULT]))
    expect({ interrupted, reason: exitReasonOf(vcpu) }).toEqual({ interrupted: 'EINTR', reason: NO_REASON })
  })

  cases(
    PREFAULT_KINDS,
    ({ what }) => `KVM_PRE_FAULT_MEMORY of ${what} says how far it came, and goes on from there`,
    ({ needs }) => ({ needs: [...faultInjection, ...needs] }),
    async (context, kind) => {
      const scene = prefaulting(context, kind, (vcpu) => vcpu.ready())
      const seen = await new FaultInjection(context).eachPlace(scene)

      expect(wronglyFailed(seen)).toEqual([])
      expect(outcomes(seen)).toContain('fail_usercopy EFAULT')
    },
  )

  test('KVM_PRE_FAULT_MEMORY on a vCPU that never ran does so too, at more than a hundred places', {
    needs: [...faultInjection, ...privateKind.needs],
  }, async (context) => {
    const scene = prefaulting(context, privateKind, async () => {})
    const seen = await new FaultInjection(context).eachPlace(scene)

    expect(wronglyFailed(seen)).toEqual([])
    // The MMU's caches of objects and pages, its root, and the guest_memfd's page.
    expect(outcomes(seen)).toContain('failslab ENOMEM')
    expect(outcomes(seen)).toContain('fail_page_alloc ENOMEM')
    expect(seen.length).toBeGreaterThan(100)
  })
})
