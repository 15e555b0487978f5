// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type SlabCensus, slabCensus, slabGrowth } from './slabs.js'

/** RCU and deferred work free some objects a little after the call that let go of them; how long that may take, in ms. */
const SETTLE_MS = 100
const SETTLE_STEP_MS = 10

/** libuv opens these when it first needs them, and keeps them. */
const OF_NODE = /^anon_inode:\[(eventpoll|eventfd|io_uring)\]$/

/** What is alive. Descriptors by number: what they are is asked only where one is left, because it costs. */
interface Census {
  readonly descriptors: ReadonlySet<string>
  readonly threads: number
  readonly vms: number
  readonly unevictableKib: number
  readonly slabs: SlabCensus | null
}

/** A test left something behind. */
export class LeakError extends Error {
  override readonly name = 'KernelLeak'
}

/**
 * Compares what is alive before and after a test, as the kernel shows it: descriptors, threads, VMs (debugfs), guest_memfd pages
 * (Unevictable: nothing else here is) and, where `withSlabs` asks for that (it costs 50 times as much), KVM's slab objects.
 */
export class LeakWatch {
  #before: Census | null = null

  constructor(readonly withSlabs: boolean) {}

  begin(): void {
    this.#before ??= census(this.withSlabs)
  }

  /** What the test left, as the error that it fails with, or null. Waits for deferred frees, only where something seems left. */
  async end(): Promise<LeakError | null> {
    const before = this.#before
    if (before === null) return null
    let now = census(this.withSlabs)
    let left = difference(before, now)
    for (let waited = 0; left.length > 0 && waited < SETTLE_MS * slowdown(); waited += SETTLE_STEP_MS) {
      // The event loop goes on: what Node closes in the background is no leak.
      await sleep(SETTLE_STEP_MS)
      now = census(this.withSlabs)
      left = difference(before, now)
    }
    // What one test ends with is what the next one starts with.
    this.#before = now
    return left.length === 0 ? null : new LeakError(`this test left behind: ${left.join('; ')}`)
  }
}

function census(withSlabs: boolean): Census {
  return {
    descriptors: new Set(readdirSync('/proc/self/fd')),
    threads: readdirSync('/proc/self/task').length,
    vms: vmsInDebugfs(),
    unevictableKib: unevictableKib(),
    slabs: withSlabs ? slabCensus() : null,
  }
}

function difference(before: Census, after: Census): string[] {
  const left: string[] = []
  // Equal numbers mean that none is left: the lowest free number is always used first.
  if (after.descriptors.size > before.descriptors.size) left.push(...newDescriptors(before, after))
  const more = (what: string, count: number): number => (count > 0 ? left.push(`${count} ${what}`) : 0)
  more('threads (a vCPU has one)', after.threads - before.threads)
  more('VMs (/sys/kernel/debug/kvm)', after.vms - before.vms)
  more('KiB of unevictable memory (guest_memfd pages)', after.unevictableKib - before.unevictableKib)
  if (before.slabs && after.slabs) left.push(...slabGrowth(before.slabs, after.slabs))
  return left
}

function newDescriptors(before: Census, after: Census): string[] {
  const left: string[] = []
  for (const number of after.descriptors) {
    const target = before.descriptors.has(number) ? null : readLink(`/proc/self/fd/${number}`)
    // The descriptor of the listing itself is gone by now.
    if (target !== null && !OF_NODE.test(target)) left.push(`descriptor ${number} (${target})`)
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

function slowdown(): number {
  return Number(process.env.GMEM_SLOWDOWN ?? 1)
}
