// SPDX-License-Identifier: Apache-2.0
import { KVM_PRE_FAULT_MEMORY, kvm_pre_fault_memory, PROT_READ } from 'gmem/abi'
import { binding, type Memory, type Outcome, type Vm } from 'gmem/kvm'
import {
  bytes,
  cap,
  cases,
  describe,
  expect,
  type GmemContext,
  gpa,
  mib,
  not,
  pages,
  tdp,
  test,
} from 'gmem/testing'
import { BASE } from './support/conversion.js'
import {
  faultsIn,
  type PrefaultedHere,
  prefaultHere,
  privateKind,
  remainder,
  sharedKind,
} from './support/prefault.js'
import { underSignals } from './support/signals.js'
import { pageBeforeHole } from './support/system-calls.js'

const TOP = 1n << 64n
/** How long a vCPU is busy: far longer than the first signal takes to come. The later ones are for machines that are as slow. */
const BUSY_MS = [500, 4000, 30_000]

/** Ordinary memory, no guest_memfd behind it. */
const ordinary = (vm: Vm, pageCount: number) => vm.addMemory({ gpa: BASE, size: pages(pageCount) })

/** The same, though its pages are private. */
const withoutGuestMemfd = (vm: Vm, pageCount: number) => {
  const memory = ordinary(vm, pageCount)
  vm.setPrivate(memory)
  return memory
}

describe('KVM_PRE_FAULT_MEMORY refuses', () => {
  cases(
    [
      { what: 'no bytes', range: { gpa: BASE, size: bytes(0) } },
      { what: 'a gpa within a page', range: { gpa: gpa(BASE + 1n), size: pages(1) } },
      { what: 'a gpa one byte before a page', range: { gpa: gpa(BASE + 4095n), size: pages(1) } },
      { what: 'half a page', range: { gpa: BASE, size: bytes(2048) } },
      { what: 'a byte more than a page', range: { gpa: BASE, size: bytes(4097) } },
      { what: 'a range that ends with the address space', range: { gpa: gpa(TOP - 4096n), size: pages(1) } },
      { what: 'a range that wraps', range: { gpa: BASE, size: bytes(TOP - 4096n) } },
    ],
    ({ what }) => `${what} with EINVAL, and leaves the request as it was`,
    { needs: sharedKind.needs },
    ({ kvm }, { range }) => {
      using vm = kvm.createVm()
      sharedKind.make(vm, 2)
      using vcpu = vm.createVcpu()

      expect(vcpu.preFault(range)).toEqual(remainder('EINVAL', range))

      expect(vm.stat('pages_4k')).toBe(0n)
    },
  )

  test('each flag with EINVAL', { needs: sharedKind.needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = sharedKind.make(vm, 2)
    using vcpu = vm.createVcpu()

    const codes = Array.from({ length: 64 }, (_, bit) => vcpu.preFault(memory, 1n << BigInt(bit)).code)

    expect([...new Set(codes)]).toEqual(['EINVAL'])
    expect(vm.stat('pages_4k')).toBe(0n)
  })

  // The page before the last is a good request (EINVAL is for the last, whose end wraps to 0), for which there is no memslot.
  cases(
    [
      { what: 'a gpa without memslot', at: gpa(BASE + pages(2)) },
      { what: 'a gpa above every one that a guest can have', at: gpa(1n << 60n) },
      { what: 'the last page but one of the address space', at: gpa(TOP - 8192n) },
    ],
    ({ what }) => `${what} with ENOENT, and leaves the request as it was`,
    { needs: sharedKind.needs },
    ({ kvm }, { at }) => {
      using vm = kvm.createVm()
      sharedKind.make(vm, 2)
      using vcpu = vm.createVcpu()
      const range = { gpa: at, size: pages(1) }

      expect(vcpu.preFault(range)).toEqual(remainder('ENOENT', range))
    },
  )

  cases(
    [
      {
        what: 'a private page of a memslot without guest_memfd',
        kind: { ...privateKind, make: withoutGuestMemfd },
        spoil: () => {},
      },
      {
        what: 'a private page whose guest_memfd is closed',
        kind: privateKind,
        spoil: (memory: Memory) => memory.guestMemfd.close(),
      },
      {
        what: 'a shared page whose host memory is unmapped',
        kind: { ...sharedKind, make: ordinary },
        spoil: (memory: Memory) => memory.shared.munmap(memory),
      },
      {
        what: 'a shared page whose host memory may not be touched',
        kind: { ...sharedKind, make: ordinary },
        spoil: (memory: Memory) => memory.shared.mprotect(0),
      },
    ],
    ({ what }) => `${what} with EFAULT, and leaves the vCPU fit to run`,
    ({ kind }) => ({ needs: kind.needs }),
    async ({ kvm }, { kind, spoil }) => {
      using vm = kvm.createVm({ type: kind.type })
      const memory = kind.make(vm, 2)
      const other = vm.addMemory({ gpa: memory.gpaOf(mib(2)), size: pages(1) })
      using vcpu = vm.createVcpu()
      await vcpu.ready()
      spoil(memory)

      expect(vcpu.preFault(memory)).toEqual(remainder('EFAULT', memory))

      expect(await vcpu.read64(other.gpa)).toBe(0n)
    },
  )

  test('a request that cannot be read with EFAULT', { needs: sharedKind.needs }, (context) => {
    using vm = context.kvm.createVm()
    const memory = sharedKind.make(vm, 2)
    using vcpu = vm.createVcpu()
    const page = pageBeforeHole(context)
    const request = kvm_pre_fault_memory.encode(memory)
    const oneByteShort = bytes(pages(1) - BigInt(request.length) + 1n)
    page.write(oneByteShort, request.subarray(0, -1))

    expect(() => vcpu.ioctl(KVM_PRE_FAULT_MEMORY, page.hvaOf(oneByteShort))).toFailWith('EFAULT')

    expect(vm.stat('pages_4k')).toBe(0n)
  })

  test('a request that cannot be written back with EFAULT, though the pages are mapped', {
    needs: sharedKind.needs,
  }, (context) => {
    using vm = context.kvm.createVm()
    const memory = sharedKind.make(vm, 2)
    using vcpu = vm.createVcpu()
    const page = pageBeforeHole(context)
    page.write(bytes(0), kvm_pre_fault_memory.encode(memory))
    page.mprotect(PROT_READ, { offset: bytes(0), size: pages(1) })

    expect(() => vcpu.ioctl(KVM_PRE_FAULT_MEMORY, page.hva)).toFailWith('EFAULT')

    expect(vm.stat('pages_4k')).toBe(2n)
  })

  test('a process that is not the VM’s own with EIO', { needs: sharedKind.needs }, ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = sharedKind.make(vm, 2)
    using vcpu = vm.createVcpu()
    const request = kvm_pre_fault_memory.encode(memory)

    expect(binding.addon.forkIoctl(vcpu.fd, KVM_PRE_FAULT_MEMORY, request)).toBe('EIO')

    expect(vm.stat('pages_4k')).toBe(0n)
  })

  test('all with EOPNOTSUPP where KVM shadows page tables, and does not report the capability', {
    needs: [not(tdp), cap('USER_MEMORY2')],
  }, ({ kvm }) => {
    using vm = kvm.createVm()
    const memory = vm.addMemory({ gpa: BASE, size: pages(2) })
    using vcpu = vm.createVcpu()

    expect(vcpu.preFault(memory)).toEqual(remainder('EOPNOTSUPP', memory))

    expect(kvm.capability('PRE_FAULT_MEMORY')).toBe(0)
  })
})

/**
 * Prefaults while a vCPU is busy elsewhere, until its deadline: the call waits for it, and finds a signal when its turn comes. A call that
 * came after the deadline tells nothing, and is made again, for another vCPU.
 */
async function prefaultWhileBusy(
  context: GmemContext,
  vm: Vm,
  { memory, elsewhere }: Readonly<Record<'memory' | 'elsewhere', Memory>>,
): Promise<{ result: PrefaultedHere | null; exit: Outcome<unknown> | null }> {
  let result: PrefaultedHere | null = null
  let exit: Outcome<unknown> | null = null
  for (const deadlineMs of BUSY_MS) {
    using vcpu = vm.createVcpu()
    const spin = vcpu.spinRead(elsewhere, { deadlineMs })
    const isBusy = await spin.progressed().then(
      () => true,
      () => false,
    )
    if (isBusy) result = underSignals(context, () => prefaultHere(vcpu, memory))
    exit = await spin.exited()
    if (result !== null && result.code !== '') break
  }
  return { result, exit }
}

describe('KVM_PRE_FAULT_MEMORY that a signal', () => {
  test('waits for fails with EINTR and has done nothing', { needs: sharedKind.needs }, async (context) => {
    using vm = context.kvm.createVm()
    const memory = sharedKind.make(vm, 2)
    const elsewhere = vm.addMemory({ gpa: memory.gpaOf(mib(2)), size: pages(1) })
    using vcpu = vm.createVcpu()

    const { result, exit } = await prefaultWhileBusy(context, vm, { memory, elsewhere })

    expect(result).toEqual({ code: 'EINTR', gpa: memory.gpa, size: memory.size })
    expect(exit).toBeExit({ reason: 'DEADLINE' })
    expect(vcpu.preFault(memory).code).toBe('')
  })

  test('stops in the middle says what is left, and can be asked for that', {
    needs: sharedKind.needs,
  }, async (context) => {
    using vm = context.kvm.createVm()
    const memory = sharedKind.make(vm, 8192)
    using vcpu = vm.createVcpu()
    await vcpu.ready()
    const mapped = vm.stat('pages_4k')
    const end = memory.gpa + memory.size

    const stopped = underSignals(context, () => unfinished(memory, () => prefaultHere(vcpu, memory)))

    const left = { gpa: gpa(stopped?.gpa ?? 0n), size: bytes(stopped?.size ?? 0n) }
    expect(stopped?.code).toBe('')
    expect(left.gpa + left.size).toBe(end)
    expect(vm.stat('pages_4k')).toBe(mapped + (left.gpa - memory.gpa) / pages(1))
    expect(vcpu.preFault(left)).toEqual(remainder('', { gpa: gpa(end), size: bytes(0) }))
    expect(await faultsIn(vcpu, () => vcpu.fill(memory, 0x3c))).toBe(0n)
  })
})

/** A result that is neither all of the range nor nothing; null for those, with the range unmapped again. */
function unfinished<T extends { readonly size: bigint }>(memory: Memory, prefault: () => T): T | null {
  const result = prefault()
  if (result.size > 0n && result.size < memory.size) return result
  memory.punchHole()
  return null
}
