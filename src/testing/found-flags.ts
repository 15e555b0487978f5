// SPDX-License-Identifier: Apache-2.0
import { GUEST_MEMFD_FLAG_INIT_SHARED, GUEST_MEMFD_FLAG_MMAP } from '../abi/index.js'
import { type GuestMemfd, KernelError, Kvm } from '../kvm/index.js'
import { pages } from '../units.js'
import { type Need, need } from './needs.js'
import type { TargetInfo } from './target.js'

/** GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED: the flags that releases up to 7.3 have. */
export const SHARED_FLAGS = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED

/** A flag of KVM_CREATE_GUEST_MEMFD whose bit differs from one posting to the next. */
export interface FoundFlag {
  /** Met where a DEFAULT VM has the flag. */
  readonly need: Need
  /** The flag's bit. Only in tests with the need. */
  bit(): bigint
}

/**
 * Finds a flag by what it does: `shows` says whether a file of one page does it, one that host and guest share and that was made with
 * one more flag. Postings have used one bit for several flags (facts/guest-memfd-abi.md, sections 1.2 and 2).
 */
export function findFlag(name: string, shows: (file: GuestMemfd) => boolean): FoundFlag {
  let found: bigint | null | undefined
  return {
    need: need(name, (target) => {
      const candidates = unnamedFlags(target)
      if (candidates.length === 0)
        return 'KVM_CREATE_GUEST_MEMFD accepts no flags on a DEFAULT VM beside MMAP and INIT_SHARED'
      if (found === undefined) found = candidates.find((bit) => withFile(bit, shows)) ?? null
      const tried = candidates.map((bit) => `0x${bit.toString(16)}`).join(', ')
      return found === null ? `no flag of KVM_CREATE_GUEST_MEMFD does that (tried ${tried})` : null
    }),
    bit: () => {
      if (typeof found !== 'bigint') throw new TypeError(`the test does not declare that it needs ${name}`)
      return found
    },
  }
}

function unnamedFlags(target: TargetInfo): bigint[] {
  const accepted = BigInt(target.vmTypes.find(({ type }) => type === 'DEFAULT')?.guestMemfdFlags ?? 0)
  if ((accepted & SHARED_FLAGS) !== SHARED_FLAGS) return []
  const bits = Array.from({ length: accepted.toString(2).length }, (_, bit) => 1n << BigInt(bit))
  return bits.filter((bit) => (accepted & bit & ~SHARED_FLAGS) !== 0n)
}

function withFile(bit: bigint, shows: (file: GuestMemfd) => boolean): boolean {
  using kvm = Kvm.open()
  using vm = kvm.createVm()
  return shows(vm.createGuestMemfd({ size: pages(1), flags: SHARED_FLAGS | bit }))
}

/** GUEST_MEMFD_FLAG_WRITE: pwrite(2) of a page works. */
export const writeFlag = findFlag('write(2) to a guest_memfd', (file) => {
  try {
    return file.pwrite(new Uint8Array(4096), 0n) === 4096
  } catch (error) {
    if (error instanceof KernelError) return false
    throw error
  }
})
