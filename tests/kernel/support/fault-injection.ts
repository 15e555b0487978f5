// SPDX-License-Identifier: Apache-2.0
import { readFileSync, writeFileSync } from 'node:fs'
import { O_RDWR } from 'gmem/abi'
import { binding, Mapping, type NativeCall } from 'gmem/kvm'
import { bytes, type GmemContext, type Need, pages, path } from 'gmem/testing'
import { ownVm } from './own-vm.js'
import { call } from './races.js'
import { sysNumber } from './system-calls.js'

/**
 * What can be made to fail, as debugfs has it: slab objects, pages, and copies from and to userspace. Each counts down `times` when it
 * fails (lib/fault-inject.c, should_fail_ex()), which tells them apart.
 */
const KINDS = ['failslab', 'fail_page_alloc', 'fail_usercopy'] as const
const DEBUGFS = '/sys/kernel/debug'
/** The character 0: nothing is left of a count. */
const ZERO = 0x30
const TIMES = 1_000_000
/**
 * verbose=0: nothing is printed, as a trace would look like a splat. The others make every allocation eligible: those that may wait, those
 * for userspace (a guest_memfd's pages are GFP_HIGHUSER), and single pages.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  'failslab/verbose': '0',
  'failslab/times': String(TIMES),
  'failslab/task-filter': 'Y',
  'failslab/probability': '0',
  'failslab/space': '0',
  'failslab/ignore-gfp-wait': 'N',
  'fail_page_alloc/verbose': '0',
  'fail_page_alloc/times': String(TIMES),
  'fail_page_alloc/ignore-gfp-wait': 'N',
  'fail_page_alloc/ignore-gfp-highmem': 'N',
  'fail_page_alloc/min-order': '0',
  'fail_usercopy/verbose': '0',
  'fail_usercopy/times': String(TIMES),
}
/** No call here has as many places to fail as this. */
const PLACES_MAX = 500
const LEFT_BYTES = 16
/** More than any call has. */
const NEVER = 1_000_000

/** sizeof(struct xa_node) on x86-64: an allocation of an xarray. */
export const XA_NODE_BYTES = 576

/** CONFIG_FAULT_INJECTION with its debugfs, in a VM: the knobs are the machine's. */
export const faultInjection: readonly Need[] = [ownVm, ...KINDS.map((kind) => path(`${DEBUGFS}/${kind}`))]

/** Where a call was made to fail. */
export type Place = (typeof KINDS)[number] | 'nowhere'

const ERRNO_OF: Readonly<Record<Place, string>> = {
  failslab: 'ENOMEM',
  fail_page_alloc: 'ENOMEM',
  fail_usercopy: 'EFAULT',
  nowhere: '',
}

/** A call of which one allocation or copy failed. */
export interface Injected {
  readonly place: Place
  /** The errno's name, '' for success. */
  readonly code: string
  /** What it returned, -1 where it failed. */
  readonly value: bigint
}

/** Makes a call that is to fail inside. */
export type Inject = (what: NativeCall) => Promise<Injected>

/** Something that makes one call, which is injected, and looks at what came of it. */
export type Scene = (inject: Inject) => Promise<void>

/** Makes calls fail inside, and puts the knobs back after the test. */
export class FaultInjection {
  readonly #left: Mapping
  readonly #times = new Map<Place, number>()

  constructor({ defer }: Pick<GmemContext, 'defer'>) {
    for (const [knob, value] of Object.entries(SETTINGS)) {
      const old = read(knob)
      defer(() => write(knob, old))
      write(knob, value)
    }
    this.#left = Mapping.anonymous(pages(1))
    defer(() => this.#left.close())
  }

  /**
   * Runs a scene again and again, in which one call is `inject`ed: first its first place to fail does, then its second, … until there is
   * none left. What came of the call, each time.
   */
  eachPlace(scene: Scene): Promise<Injected[]> {
    return untilSpared(scene, (nth, what) => this.#failOne(nth, what))
  }

  /** The same for the last places of a call that has too many: `count` of them, as it is counted when nothing fails. */
  async lastPlaces(count: number, scene: Scene): Promise<Injected[]> {
    await scene((what) => this.#failOne(NEVER, what))
    const left = new TextDecoder().decode(this.#left.read(bytes(0), LEFT_BYTES))
    return untilSpared(
      scene,
      (nth, what) => this.#failOne(nth, what),
      NEVER - Number.parseInt(left, 10) - count,
    )
  }

  /**
   * The same where the kernel tries a failed allocation again: of the call's slab objects the first `bytesEach`, the first two times
   * `bytesEach`, … are given to it, and all others are not.
   */
  eachAmount(bytesEach: number, scene: Scene): Promise<Injected[]> {
    return untilSpared(scene, (nth, what) => this.#failAfter((nth - 1) * bytesEach, what))
  }

  /** Documentation/fault-injection, fail-nth: it counts down, also in the pread(2) that asks what is left of it. */
  async #failOne(nth: number, what: NativeCall): Promise<Injected> {
    this.#left.fill(0)
    const result = await onThreadWith('fail-nth', { value: String(nth), left: this.#left }, what)
    return { place: this.#place(this.#left.read8(bytes(0)) === ZERO), ...result }
  }

  /** The same, task-filter and space: a task with make-it-fail gets so many bytes. */
  async #failAfter(space: number, what: NativeCall): Promise<Injected> {
    write('failslab/space', String(space + 1))
    write('failslab/probability', '100')
    const result = await onThreadWith('make-it-fail', { value: '1', left: this.#left }, what)
    write('failslab/probability', '0')
    return { place: this.#place(true), ...result }
  }

  /** Which knob counted down, if it was for the call. */
  #place(forTheCall: boolean): Place {
    const left = KINDS.map((kind) => ({ kind, times: Number(read(`${kind}/times`)) }))
    const failed = left.find(({ kind, times }) => times !== (this.#times.get(kind) ?? TIMES))
    for (const { kind, times } of left) this.#times.set(kind, times)
    return forTheCall && failed !== undefined ? failed.kind : 'nowhere'
  }
}

/** Repeats a scene, counting up, until nothing fails in its call any more. */
async function untilSpared(
  scene: Scene,
  fail: (nth: number, what: NativeCall) => Promise<Injected>,
  first = 1,
): Promise<Injected[]> {
  const seen: Injected[] = []
  const attempt = async (nth: number): Promise<Injected | undefined> => {
    await scene(async (what) => {
      const injected = await fail(nth, what)
      seen.push(injected)
      return injected
    })
    return seen.at(-1)
  }
  for (let nth = first; nth < first + PLACES_MAX; nth += 1) {
    let last = await attempt(nth)
    // Once more: what the kernel allocates only now and then, and can do without (a sheaf of a slab cache), may have had the number of
    // an allocation that the call always makes.
    if (last?.place !== 'nowhere' && last?.code === '') last = await attempt(nth)
    if (last?.place === 'nowhere') return seen
  }
  throw new Error(`the call still fails at place ${first + PLACES_MAX - 1}`)
}

/** More results than a thread below keeps, of which the process's other threads may take some. */
const SPARE_RESULTS = 64

/**
 * Leaves free memory for what the next thread keeps of its calls. That is allocated between two of them: where the heap has to grow for it
 * the thread's own page fault would be what fails, or count as a place of the call. A thread takes over the heap (malloc's arena) of the
 * one that ended last, and uses what is free there before it grows.
 */
async function leaveFreeMemory(): Promise<void> {
  await binding.addon.syscallsOnThread(Array(SPARE_RESULTS).fill(call('close', -1)), 1)
}

/** Makes a call on a thread of its own, for which a file of /proc/thread-self is set before it, read and set to 0 after it. */
async function onThreadWith(
  name: 'fail-nth' | 'make-it-fail',
  setting: { readonly value: string; readonly left: Mapping },
  what: NativeCall,
): Promise<{ readonly code: string; readonly value: bigint }> {
  const path = encode(`/proc/thread-self/${name}\0`)
  const value = encode(setting.value)
  await leaveFreeMemory()
  // The lowest fd that is free: once the thread has closed it, its open(2) gives it.
  const fd = sysNumber('open', path, O_RDWR)
  const [, opened, set, made] = await binding.addon.syscallsOnThread(
    [
      call('close', fd),
      call('open', path, O_RDWR),
      call('pwrite64', fd, value, value.length, 0),
      what,
      call('pread64', fd, setting.left.hva, LEFT_BYTES, 0),
      call('pwrite64', fd, encode('0'), 1, 0),
      call('close', fd),
    ],
    1,
  )
  if (opened?.value !== BigInt(fd) || set?.value !== BigInt(value.length) || made === undefined)
    throw new Error(`${name} of a new thread cannot be set`)
  return { code: Object.keys(made.errors)[0] ?? '', value: made.value }
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function read(knob: string): string {
  return readFileSync(`${DEBUGFS}/${knob}`, 'latin1')
}

function write(knob: string, value: string): void {
  writeFileSync(`${DEBUGFS}/${knob}`, value)
}

/** What is seen of calls, each once: `failslab ENOMEM`. */
export function outcomes(seen: readonly Injected[]): Set<string> {
  return new Set(seen.map(({ place, code }) => `${place} ${code}`.trim()))
}

/**
 * Those but of pages. Objects need one when their slabs happen to be full, and a smaller one does where that is not to be had
 * (allocate_slab(), 7.3.4): whether a call that allocates objects has such a place is not its own doing.
 */
export function butPages(seen: readonly Injected[]): Injected[] {
  return seen.filter(({ place }) => place !== 'fail_page_alloc')
}

/** Those of which a failure is no ENOMEM for an allocation and no EFAULT for a copy: none, of a kernel that is right. */
export function wronglyFailed(seen: readonly Injected[]): Injected[] {
  return seen.filter(({ place, code }) => code !== '' && code !== ERRNO_OF[place])
}
