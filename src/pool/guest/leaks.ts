// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'

/** RCU and deferred work free some objects a little after the call that let go of them; how long that may take, in ms. */
const SETTLE_MS = 100
const SETTLE_STEP_MS = 10

/** Slab caches of KVM whose objects belong to a VM, a vCPU or a guest_memfd; a kernel that lacks one just has no such number. */
const SLAB_CACHES = ['kvm_vcpu', 'kvm_mmu_page_header', 'kvm_gmem_inode_cache', 'kvm_async_pf'] as const

/** libuv opens these when it first needs them, and keeps them. */
const OF_NODE = /^anon_inode:\[(eventpoll|eventfd|io_uring)\]$/

/** What is alive: descriptors by number, everything else as a count. */
interface Census {
  readonly descriptors: ReadonlyMap<string, string>
  readonly counts: Readonly<Record<string, number>>
}

/** A test left something behind. */
export class LeakError extends Error {
  override readonly name = 'KernelLeak'
}

/**
 * Compares what is alive before and after a test, as the kernel shows it: descriptors, threads, VMs (debugfs), guest_memfd pages
 * (Unevictable: nothing else here is), KVM's slab objects.
 */
export class LeakWatch {
  #before: Census | null = null

  begin(): void {
    this.#before = census()
  }

  /** What the test left, as the error that it fails with, or null. Waits for deferred frees, only where something seems left. */
  end(): LeakError | null {
    if (this.#before === null) return null
    let left = difference(this.#before, census())
    for (let waited = 0; left.length > 0 && waited < SETTLE_MS * slowdown(); waited += SETTLE_STEP_MS) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, SETTLE_STEP_MS)
      left = difference(this.#before, census())
    }
    return left.length === 0 ? null : new LeakError(`this test left behind: ${left.join('; ')}`)
  }
}

function census(): Census {
  const descriptors = new Map<string, string>()
  for (const number of readdirSync('/proc/self/fd')) {
    const target = readLink(`/proc/self/fd/${number}`)
    // The descriptor of this very listing is gone by now.
    if (target !== null && !OF_NODE.test(target)) descriptors.set(number, target)
  }
  const counts: Record<string, number> = {
    'vCPU and other threads': readdirSync('/proc/self/task').length,
    'VMs in debugfs': vmsInDebugfs(),
    'KiB of unevictable memory': unevictableKib(),
  }
  for (const cache of SLAB_CACHES) counts[`objects in slab ${cache}`] = slabObjects(cache)
  return { descriptors, counts }
}

function difference(before: Census, after: Census): string[] {
  const left: string[] = []
  for (const [number, target] of after.descriptors) {
    if (before.descriptors.get(number) !== target) left.push(`descriptor ${number} (${target})`)
  }
  for (const [what, count] of Object.entries(after.counts)) {
    const more = count - (before.counts[what] ?? 0)
    if (more > 0) left.push(`${more} ${what}`)
  }
  return left
}

function readLink(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}

/** Directories named PID-FD, one for each VM (virt/kvm/kvm_main.c, kvm_create_vm_debugfs). */
function vmsInDebugfs(): number {
  try {
    return readdirSync('/sys/kernel/debug/kvm').filter((name) => /^\d+-/.test(name)).length
  } catch {
    return 0
  }
}

function unevictableKib(): number {
  return Number(/^Unevictable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1] ?? 0)
}

/**
 * `42 N0=42`: objects of the cache, where the kernel counts them (CONFIG_SLUB_DEBUG). What lies in per-CPU slabs counts as used,
 * so these are flushed first.
 */
function slabObjects(cache: string): number {
  try {
    writeFileSync(`/sys/kernel/slab/${cache}/shrink`, '1')
    return Number.parseInt(readFileSync(`/sys/kernel/slab/${cache}/objects`, 'latin1'), 10)
  } catch {
    return 0
  }
}

function slowdown(): number {
  return Number(process.env.GMEM_SLOWDOWN ?? 1)
}
