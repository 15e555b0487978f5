// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { bytes, Mapping, mib } from '../kvm/index.js'

const HUGE_PAGE = mib(2)

/** True where a touched, advised and aligned 2 MiB area is one huge page, by /proc/self/smaps. */
export function thpWorks(): boolean {
  let mapping: Mapping
  try {
    mapping = Mapping.thp(HUGE_PAGE)
  } catch {
    return false
  }
  try {
    mapping.write64(bytes(0), 1n)
    const area = smapsOf(mapping.hva)
    return /^AnonHugePages: +2048 kB$/m.test(area)
  } finally {
    mapping.close()
  }
}

// The entry of the mapping that holds the address; the kernel may have merged ours with a neighbour.
function smapsOf(address: bigint): string {
  const entries = read('/proc/self/smaps').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
  const holds = (entry: string): boolean => {
    const match = /^([0-9a-f]+)-([0-9a-f]+) /.exec(entry)
    return match !== null && BigInt(`0x${match[1]}`) <= address && address < BigInt(`0x${match[2]}`)
  }
  return entries.find(holds) ?? ''
}

/** Free 2 MiB pages in the hugetlb pool; 0 without hugetlb. */
export function hugetlbFree(): number {
  return Number(read('/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages').trim() || '0')
}

/** Online NUMA nodes; 1 on a kernel without NUMA. */
export function numaNodes(): number {
  const online = read('/sys/devices/system/node/online').trim()
  if (online === '') return 1
  const counts = online.split(',').map((part) => {
    const [first = '0', last = first] = part.split('-')
    return Number(last) - Number(first) + 1
  })
  return counts.reduce((sum, count) => sum + count, 0)
}

/** KVM's own word on two-dimensional paging, for kernels without KVM_PRE_FAULT_MEMORY. */
export function kvmModuleUsesTdp(): boolean {
  const parameters = ['/sys/module/kvm_intel/parameters/ept', '/sys/module/kvm_amd/parameters/npt']
  return parameters.some((file) => /^[Y1]/.test(read(file)))
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
