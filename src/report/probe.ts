// SPDX-License-Identifier: Apache-2.0
import type { TargetInfo, VmTypeInfo } from '../testing/target.js'
import { type Colours, coloursFor, indented, table, wrap } from './style.js'

const DEFAULT_COLUMNS = 100
/** Capabilities that this project is about: the others are listed by name only. */
const OURS =
  /GUEST_MEMFD|MEMORY_ATTRIBUTES|MEMORY_FAULT|USER_MEMORY2|VM_TYPES|PRE_FAULT|HYPERCALL|SYNC_MMU|MEMORY_FAULT/
/** GUEST_MEMFD_FLAG_* by bit (include/uapi/linux/kvm.h, 7.3.4). */
const FLAG_NAMES = ['MMAP', 'INIT_SHARED']

/** What a target offers, for people. */
export function probeLines(target: TargetInfo, stream: { isTTY?: boolean; columns?: number }): string[] {
  const colours = coloursFor(stream)
  const width = (stream.columns || DEFAULT_COLUMNS) - 2
  const { capabilities } = target
  const ours = Object.entries(capabilities).filter(([name]) => OURS.test(name))
  const others = Object.keys(capabilities).filter((name) => !OURS.test(name))
  return [
    `Linux ${target.release}  ${target.arch}  ${target.version}`,
    target.kvmError === ''
      ? `KVM API ${target.apiVersion}, guests see a CPU of ${target.cpuVendor}`
      : colours.red(`/dev/kvm: ${target.kvmError}`),
    ...section('VM types', vmTypeTable(target.vmTypes, colours), colours),
    ...section('capabilities that guest_memfd needs', capabilityTable(ours), colours),
    ...section('ioctls', ioctlLines(target.ioctls, colours), colours),
    ...section('memory', memoryLines(target, colours), colours),
    ...section(
      `${others.length} other capabilities`,
      wrap(others.join(' '), width).map(colours.dim),
      colours,
    ),
  ]
}

function vmTypeTable(types: readonly VmTypeInfo[], colours: Colours): string[] {
  if (types.length === 0) return []
  const titles = [
    'type',
    'guest_memfd flags',
    'memslot with it',
    'private memory',
    'pre-fault',
    'in-place conversion',
  ]
  const rows = types.map((type) => {
    if (type.error !== '') return [type.type, colours.yellow(`KVM_CREATE_VM: ${type.error}`), '', '', '', '']
    const { guestMemfdMemslot, privateAttribute, preFault, inPlaceConversion } = type
    const outcomes = [guestMemfdMemslot, privateAttribute, preFault, inPlaceConversion]
    return [
      type.type,
      type.guestMemfdFlags === null ? colours.yellow('no guest_memfd') : flagNames(type.guestMemfdFlags),
      ...outcomes.map((code) => (code === '' ? colours.green('works') : colours.yellow(code))),
    ]
  })
  return table(
    [titles.map((title) => colours.dim(title)), ...rows],
    titles.map(() => 'left'),
  )
}

function flagNames(flags: number): string {
  if (flags === 0) return 'none'
  const bits = Array.from({ length: 32 }, (_, bit) => bit).filter((bit) => (flags >>> bit) & 1)
  return bits.map((bit) => FLAG_NAMES[bit] ?? `bit ${bit}`).join(' ')
}

function capabilityTable(entries: readonly (readonly [string, number])[]): string[] {
  if (entries.length === 0) return ['none']
  return table(
    entries.map(([name, value]) => [`KVM_CAP_${name}`, `0x${(value >>> 0).toString(16)}`]),
    ['left', 'right'],
  )
}

/** The probe also tries an ioctl that nobody has: worth a line only where the kernel claims to know it. */
function ioctlLines(ioctls: Readonly<Record<string, boolean>>, colours: Colours): string[] {
  const shown = Object.entries(ioctls).filter(([name, known]) => known || /^KVM_|: KVM_/.test(name))
  return shown.map(([name, known]) => yesNo(name, known, colours))
}

function memoryLines({ tdp, thp, hugetlbFree, numaNodes }: TargetInfo, colours: Colours): string[] {
  return [
    yesNo('two-dimensional paging (EPT, NPT)', tdp, colours),
    yesNo('transparent huge pages', thp, colours),
    `free 2 MiB hugetlb pages: ${hugetlbFree}`,
    `NUMA nodes: ${numaNodes}`,
  ]
}

function yesNo(name: string, yes: boolean, colours: Colours): string {
  return `${yes ? colours.green('yes') : colours.yellow('no ')}  ${name}`
}

function section(title: string, lines: readonly string[], colours: Colours): string[] {
  return lines.length === 0 ? [] : ['', colours.bold(title), ...indented(lines, '  ')]
}
