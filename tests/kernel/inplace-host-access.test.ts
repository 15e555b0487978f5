// SPDX-License-Identifier: Apache-2.0
import { KVM_MEMORY_ATTRIBUTE_PRIVATE, SYS } from 'gmem/abi'
import { bytes, cases, describe, expect, pages, test } from 'gmem/testing'
import { BASE } from './support/conversion.js'
import { startChild } from './support/conversion-child.js'
import { hostAccesses, outsideOf } from './support/conversion-host-access.js'
import { inPlace, runOn, SHARED_FILE, sharedMemory, sharingOf } from './support/inplace.js'

// facts/inplace-conversion-abi.md, section 3: host access to a private page, in all processes; the references of the page cache itself.
const needs = inPlace

const SEED = 0x5ec2e7n
const PROCESSORS = [0, 1]

/**
 * Maps page 1 of our file by its own descriptor of it, stores there, and says so; says when the page is out of its reach, and what it
 * holds when it is back.
 */
function otherProcess(fd: number): string {
  return `
    const pidfd = addon.syscall(${SYS.pidfd_open}, [${process.pid}, 0])
    const fd = Number(addon.syscall(${SYS.pidfd_getfd}, [pidfd, ${fd}, 0]))
    const mapping = addon.mmap(8192n, 3, 1, fd, 0n, 0n)
    const until = async (ok) => {
      for (;;) {
        const probe = mapping.probeRead(4096n, 8)
        if (probe.ok === ok) return probe
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
    mapping.probeWrite(4096n, 8, 0x77n)
    console.log('mapped')
    until(false).then(async (fault) => {
      console.log(fault.signal)
      console.log('0x' + (await until(true)).value.toString(16))
    })
  `
}

describe('a page converted to private', () => {
  cases(
    hostAccesses,
    ({ what, refusal }) => `refuses ${what} with ${refusal}, gives no byte, and allows it when it is shared`,
    (row) => ({ needs: [...needs, ...(row.needs ?? [])] }),
    async ({ kvm, defer }, { run, refusal, moves }) => {
      using vm = kvm.createVm({ type: 'SW_PROTECTED' })
      const memory = sharedMemory(vm, 1)
      memory.shared.fill(0xaa)
      const outside = outsideOf(0x5a)
      defer(() => outside.close())
      using vcpu = vm.createVcpu()

      memory.guestMemfd.convert(memory, 'private')

      expect(() => run(memory.shared, outside)).toFailWith(refusal)
      expect(outside.mapping).toBeFilledWith(0x5a)
      await expect(vcpu).toSeeFilledWith(0xaa, memory)
      memory.guestMemfd.convert(memory, 'shared')
      run(memory.shared, outside)
      expect(memory).toBeFilledWith(moves === 'in' ? 0x5a : 0xaa)
    },
  )

  test('raises SIGBUS at the exact address of a load or store in its second page', { needs }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, 3)
    const { shared } = memory

    memory.guestMemfd.convert(memory.range(pages(1), pages(1)), 'private')

    const sigbusAt = (offset: bigint) => ({ code: 'BUS_ADRERR', address: shared.hva + offset })
    expect(shared.probe(bytes(4095), 1).ok).toBe(true)
    expect(shared.probe(bytes(4104))).toBeSignal('SIGBUS', sigbusAt(4104n))
    expect(shared.probeWrite(bytes(8191), 7n, 1)).toBeSignal('SIGBUS', sigbusAt(8191n))
    expect(shared.probe(bytes(8192), 1).ok).toBe(true)
  })

  test('is out of reach for mappings made before and after, and back in all when it is shared', { needs }, ({
    kvm,
  }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using file = vm.createGuestMemfd({ size: pages(2), flags: SHARED_FILE })
    const before = [file.mmap(), file.mmap()]
    for (const mapping of before) mapping.fill(0xaa)

    file.convert(file.span(pages(1), pages(1)), 'private')
    const all = [...before, file.mmap()]
    const whilePrivate = all.map(sharingOf)
    file.convert(file.whole(), 'shared')

    expect(whilePrivate).toEqual(['SP', 'SP', 'SP'])
    expect(all.map((mapping) => mapping.findMismatch(0xaa))).toEqual([null, null, null])
  })

  test('raises SIGBUS in a child made by fork(2), load and store', { needs }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, 2, SEED)
    const { shared } = memory
    const before = shared.forkProbe(bytes(0))

    memory.guestMemfd.convert(memory.range(pages(0), pages(1)), 'private')

    const sigbus = { code: 'BUS_ADRERR', address: shared.hva }
    expect(before).toEqual({ ok: true, value: memory.gpa ^ SEED })
    expect(shared.forkProbe(bytes(0))).toBeSignal('SIGBUS', sigbus)
    expect(shared.forkProbe(bytes(0), { write: 7n })).toBeSignal('SIGBUS', sigbus)
    expect(shared.forkProbe(pages(1)).ok).toBe(true)
  })

  test('is taken from another process that has it mapped, which is no reason to fail', {
    needs,
    timeoutMs: 60_000,
  }, async ({ kvm, defer }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = sharedMemory(vm, 2, SEED)
    using vcpu = vm.createVcpu()
    const child = startChild(otherProcess(memory.guestMemfd.fd))
    defer(() => child.kill())
    await child.says('mapped')

    memory.guestMemfd.convert(memory, 'private')
    await child.says('SIGBUS')
    const stored = await vcpu.read64(memory.gpaOf(pages(1)))
    await vcpu.write64(memory.gpaOf(pages(1)), 0x88n)
    memory.guestMemfd.convert(memory, 'shared')

    expect(stored).toBe(0x77n)
    await child.says('0x88')
  })
})

describe('a page that was touched just now', () => {
  test('is converted at once: the kernel’s own references to it are drained', { needs }, ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    using file = vm.createGuestMemfd({ size: pages(64), flags: SHARED_FILE })
    const mapping = file.mmap()

    const attempts = Array.from({ length: 64 }, (_, page) => {
      mapping.write64(pages(page), 1n)
      return file.attemptAttributes({
        offset: pages(page),
        size: pages(1),
        attributes: KVM_MEMORY_ATTRIBUTE_PRIVATE,
      }).code
    })

    expect(new Set(attempts)).toEqual(new Set(['']))
  })

  test('on another processor is converted at once as well', { needs }, (context) => {
    using vm = context.kvm.createVm({ type: 'SW_PROTECTED' })
    using file = vm.createGuestMemfd({ size: pages(8), flags: SHARED_FILE })
    const mapping = file.mmap()
    for (const processor of PROCESSORS) {
      runOn(context, processor)
      for (const page of [0, 2, 4, 6]) mapping.write64(pages(page + processor), 1n)
    }

    file.convert(file.whole(), 'private')

    expect(sharingOf(mapping)).toBe('PPPPPPPP')
  })

  test('by the guest on two vCPUs is converted at once', { needs }, async ({ kvm }) => {
    using vm = kvm.createVm({ type: 'SW_PROTECTED' })
    const memory = vm.addMemory({ gpa: BASE, size: pages(8), guestMemfd: SHARED_FILE })
    using first = vm.createVcpu()
    using second = vm.createVcpu()
    await first.fill(memory.range(pages(0), pages(4)), 0xaa)
    await second.fill(memory.range(pages(4), pages(4)), 0xaa)

    memory.guestMemfd.convert(memory, 'private')

    expect(sharingOf(memory.shared)).toBe('PPPPPPPP')
    await expect(first).toSeeFilledWith(0xaa, memory)
  })
})
