// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import type { Exit, Memory, Vm } from 'gmem/kvm'
import {
  bytes,
  cases,
  describe,
  expect,
  type GmemContext,
  gpaAdd,
  mib,
  need,
  pages,
  path,
  setKvmParameter,
  test,
} from 'gmem/testing'
import { BASE } from './support/conversion.js'
import { type PageKind, Pfnmap, pfnmapModule, slotOf } from './support/pfnmap.js'

/** AMD64 Architecture Programmer's Manual, volume 2: EFER.SVME; VMSAVE stores the base of GS here, in the page that RAX names. */
const EFER_SVME = 0x1000n
const VMCB_GS_BASE = bytes(0x458)
const VMSAVE_HLT = Uint8Array.of(0x0f, 0x01, 0xdb, 0xf4)
const GS_BASE = 0x1234_5000n

const ALLOW = '/sys/module/kvm/parameters/allow_unsafe_mappings'
const NESTED = '/sys/module/kvm_amd/parameters/nested'

const nestedSvm = need('nested SVM', () => {
  try {
    return /^[Y1]/.test(readFileSync(NESTED, 'latin1')) ? null : `${NESTED} says no`
  } catch {
    return 'kvm_amd is not loaded'
  }
})
const needs = [pfnmapModule, path(ALLOW), nestedSvm]

/** The guest has the processor store state in a page: KVM does it, by its own mapping of the page (vmload_vmsave_interception(), 7.3.4). */
async function vmsave(vm: Vm, page: Memory): Promise<Exit> {
  const code = vm.addMemory({ gpa: gpaAdd(BASE, mib(2)), size: pages(1) })
  code.shared.write(bytes(0), VMSAVE_HLT)
  using vcpu = vm.createVcpu()
  await vcpu.ready()
  const { efer, gs } = vcpu.getSregs()
  vcpu.setSregs({ efer: efer | EFER_SVME, gs: withBase(gs) })
  vcpu.setRegs({ rip: code.gpa, rax: page.gpa, rflags: 2n })
  return await vcpu.run()
}

/** struct kvm_segment: its base comes first. */
function withBase(segment: Uint8Array): Uint8Array {
  const copy = segment.slice()
  new DataView(copy.buffer).setBigUint64(0, GS_BASE, true)
  return copy
}

/** With a parameter of kvm that is set when the module is loaded. */
async function vmsaveInto(context: GmemContext, kind: PageKind, allow: 'Y' | 'N') {
  setKvmParameter('allow_unsafe_mappings', allow)
  const set = new Pfnmap(context, { kind, way: 'fault', pageCount: 1 })
  const before = set.info(0)
  using vm = context.kvm.createVm()
  const exit = await vmsave(vm, slotOf(vm, set))
  return { exit, set, before, after: set.info(0) }
}

/** The same with memory that KVM may map for itself in any case. */
async function vmsaveIntoOrdinary(context: GmemContext, allow: 'Y' | 'N') {
  setKvmParameter('allow_unsafe_mappings', allow)
  using vm = context.kvm.createVm()
  const page = vm.addMemory({ gpa: BASE, size: pages(1) })
  const exit = await vmsave(vm, page)
  return { exit, stored: page.shared.read64(VMCB_GS_BASE) }
}

const KINDS: readonly { kind: PageKind }[] = [{ kind: 'refcounted' }, { kind: 'reserved' }]

// Slow: kvm.ko is loaded anew. allow_unsafe_mappings says whether KVM may map such a page for itself, outside the reach of MMU notifiers
// (hva_to_pfn_remapped(), 7.3.4).
describe('without allow_unsafe_mappings, what KVM maps for itself', () => {
  cases(
    KINDS,
    ({ kind }) => `is no VM_PFNMAP memory: ${kind} pages`,
    { needs },
    async (context, { kind }) => {
      const { exit, set, before, after } = await vmsaveInto(context, kind, 'N')

      expect(exit).toBeExit({ reason: 'INTERNAL_ERROR', suberror: 'EMULATION' })
      expect(set.read(0, 'current', VMCB_GS_BASE)).toBe(0n)
      expect(after).toEqual(before)
    },
  )

  test('is ordinary memory', { needs }, async (context) => {
    const { exit, stored } = await vmsaveIntoOrdinary(context, 'N')

    expect(exit).toBeExit({ reason: 'HLT' })
    expect(stored).toBe(GS_BASE)
  })
})

describe('with allow_unsafe_mappings, what KVM maps for itself', () => {
  cases(
    KINDS,
    ({ kind }) => `is VM_PFNMAP memory, without a reference: ${kind} pages`,
    { needs },
    async (context, { kind }) => {
      const { exit, set, before, after } = await vmsaveInto(context, kind, 'Y')

      expect(exit).toBeExit({ reason: 'HLT' })
      expect(set.read(0, 'current', VMCB_GS_BASE)).toBe(GS_BASE)
      expect(after).toEqual({ ...before, faults: 1 })
    },
  )

  test('is ordinary memory', { needs }, async (context) => {
    const { exit, stored } = await vmsaveIntoOrdinary(context, 'Y')

    expect(exit).toBeExit({ reason: 'HLT' })
    expect(stored).toBe(GS_BASE)
  })
})
