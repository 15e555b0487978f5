// SPDX-License-Identifier: Apache-2.0
import type { Bytes, Mapping } from 'gmem/kvm'
import { type GmemContext, type Need, PAGE_SIZE } from 'gmem/testing'
import { directRead, directWrite, slowDisk } from './direct-io.js'
import { iovec, pageOf } from './pins.js'
import { type StalledPage, stalledPage, userFaults } from './user-faults.js'
import { sendZeroCopy } from './zero-copy.js'

type Scope = Pick<GmemContext, 'defer' | 'signal'>

/** An I/O under way: the kernel holds the page until it is over. */
export interface Transfer {
  /** Lets it come to its end: what the page's bytes are where they arrived. */
  finish(): Promise<Uint8Array>
}

/** An I/O that can be caught in the middle. */
export interface TransferKind {
  /** `an O_DIRECT write(2) of it`. */
  readonly what: string
  readonly needs: readonly Need[]
  /** Bytes go out of the page, or into it: then each of them is `INCOMING`. */
  readonly direction: 'out' | 'in'
  /** It takes its time, and ends by itself. */
  readonly isTimed?: boolean
  /** Starts it on the page of a mapping at an offset: it is under way when this comes back. */
  readonly start: (scope: Scope, mapping: Mapping, offset: Bytes) => Transfer
}

/** What each byte is that comes into a page. */
export const INCOMING = 0xc3

const incoming = (): Uint8Array => new Uint8Array(Number(PAGE_SIZE)).fill(INCOMING)

/** The ways that this project knows. */
export const transferKinds: readonly TransferKind[] = [
  {
    what: 'an O_DIRECT write of it to a slow disk',
    needs: [slowDisk],
    direction: 'out',
    isTimed: true,
    start: (scope, mapping, offset) => directWrite(scope, mapping.hvaOf(offset)),
  },
  {
    what: 'an O_DIRECT read into it from a slow disk',
    needs: [slowDisk],
    direction: 'in',
    isTimed: true,
    start: (scope, mapping, offset) => directRead(scope, mapping, offset, incoming()),
  },
  {
    what: 'a send(2) with MSG_ZEROCOPY of it, to a receiver that does not read',
    needs: [],
    direction: 'out',
    start: (scope, mapping, offset) => sendZeroCopy(scope, mapping.hvaOf(offset)),
  },
  {
    what: 'a process_vm_readv(2) of it that cannot go on',
    needs: [userFaults],
    direction: 'out',
    start: (scope, mapping, offset) => {
      const local = stalledPage(scope)
      const reading = processVm('process_vm_readv', local.mapping.hva, mapping.hvaOf(offset), local)
      return {
        finish: async () => {
          local.resume(new Uint8Array(Number(PAGE_SIZE)))
          await reading
          return pageOf(local.mapping, 0)
        },
      }
    },
  },
  {
    what: 'a process_vm_writev(2) into it that cannot go on',
    needs: [userFaults],
    direction: 'in',
    start: (scope, mapping, offset) => {
      const local = stalledPage(scope)
      const writing = processVm('process_vm_writev', local.mapping.hva, mapping.hvaOf(offset), local)
      return {
        finish: async () => {
          local.resume(incoming())
          await writing
          return mapping.read(offset, Number(PAGE_SIZE))
        },
      }
    },
  },
]

/** Between a page of ours that stalls and another one of ours: the kernel pins the "remote" one, then touches the other. */
function processVm(
  name: 'process_vm_readv' | 'process_vm_writev',
  local: bigint,
  remote: bigint,
  { stall }: StalledPage,
): Promise<bigint> {
  return stall(name, [process.pid, iovec(local), 1n, iovec(remote), 1n, 0n])
}
