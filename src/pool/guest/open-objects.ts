// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readlinkSync, statSync } from 'node:fs'

/** libuv opens these when it first needs them, and keeps them. */
const OPENED_BY_NODE = /^anon_inode:\[(eventpoll|eventfd|io_uring)\]$/

/** What Node and the worker keep open; anything else may be closed at any time, and its number used again. */
const KEPT_OPEN = /^(anon_inode:|pipe:|socket:|\/(dev|proc|sys)\/)/

/** How many there are in this process, and of all VMs of this kernel. */
export interface OpenCounts {
  /** null where the kernel does not say. */
  readonly descriptors: number | null
  readonly threads: number
  readonly vms: number
}

/**
 * Counts without a list: three calls. /proc/PID/fd says in st_size how many descriptors there are (fs/proc/fd.c, since Linux 6.2;
 * 0 before), and folders say in st_nlink how many folders they hold, and 2: one for each thread in /proc/PID/task, one for each VM
 * (virt/kvm/kvm_main.c, kvm_create_vm_debugfs).
 */
export function countOpen(): OpenCounts {
  return {
    descriptors: statSync('/proc/self/fd').size || null,
    threads: statSync('/proc/self/task').nlink - 2,
    vms: (statSync('/sys/kernel/debug/kvm', { throwIfNoEntry: false })?.nlink ?? 2) - 2,
  }
}

/** What each descriptor is, by number; those that are `known` are not asked again. */
export function listDescriptors(known: ReadonlyMap<string, string>): Map<string, string> {
  const open = new Map<string, string>()
  for (const number of readdirSync('/proc/self/fd')) {
    const target = known.get(number) ?? readLink(`/proc/self/fd/${number}`)
    // The descriptor of the listing itself is gone by now.
    if (target !== null) open.set(number, target)
  }
  return open
}

/** Whether it stays open, where it was before any test. */
export function isKeptOpen(target: string): boolean {
  return KEPT_OPEN.test(target)
}

/** Whether it may appear in any test without being that test's. */
export function isOpenedByNode(target: string): boolean {
  return OPENED_BY_NODE.test(target)
}

function readLink(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}
