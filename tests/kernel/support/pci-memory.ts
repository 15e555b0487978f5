// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MAP_SHARED, O_RDWR, PROT_READ, PROT_WRITE } from 'gmem/abi'
import { type Bytes, binding, Mapping } from 'gmem/kvm'
import { type GmemContext, type Need, need, pages } from 'gmem/testing'
import { ownVm } from './own-vm.js'

const DEVICES = '/sys/bus/pci/devices'
/** The vendor and device of QEMU's ivshmem, whose BAR 2 is memory. */
const IVSHMEM = '0x1af4 0x1110'
const MEMORY_BAR = 2

/** The PCI card with memory that gmem puts into its VMs (src/qemu/arguments.ts). */
export const pciMemory: readonly Need[] = [
  ownVm,
  need('a PCI card with memory', () => (findCard() === null ? 'this QEMU has no ivshmem-plain' : null)),
]

/** The memory behind the card's BAR, which the kernel has no struct page for. */
export class PciMemory {
  /** Its physical address. */
  readonly address: bigint
  readonly size: Bytes
  readonly #file: string

  constructor() {
    const folder = findCard()
    if (folder === null) throw new Error('there is no ivshmem card')
    // Until then the card does not answer at these addresses.
    writeFileSync(join(folder, 'enable'), '1')
    const [first = '0', last = '0'] = (
      readFileSync(join(folder, 'resource'), 'latin1').split('\n')[MEMORY_BAR] ?? ''
    ).split(' ')
    this.address = BigInt(first)
    this.size = pages((BigInt(last) + 1n - this.address) / pages(1))
    this.#file = join(folder, `resource${MEMORY_BAR}`)
  }

  /** Maps its first pages through sysfs, which remap_pfn_range() does (drivers/pci/mmap.c); unmapped after the test. */
  map({ defer }: Pick<GmemContext, 'defer'>, size: Bytes, prot = PROT_READ | PROT_WRITE): Mapping {
    const { addon } = binding
    const fd = addon.open(this.#file, O_RDWR, 0)
    try {
      const mapping = new Mapping(addon.mmap(size, prot, MAP_SHARED, fd, 0n, 0n))
      defer(() => mapping.close())
      return mapping
    } finally {
      addon.close(fd)
    }
  }
}

function findCard(): string | null {
  const is = (folder: string): boolean =>
    ['vendor', 'device'].map((name) => readFileSync(join(folder, name), 'latin1').trim()).join(' ') ===
    IVSHMEM
  const folders = readdirSync(DEVICES).map((name) => join(DEVICES, name))
  return folders.find(is) ?? null
}
