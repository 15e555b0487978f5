// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { O_WRONLY } from 'gmem/abi'
import { type Bytes, binding, type NativeCall } from 'gmem/kvm'
import type { GmemContext } from 'gmem/testing'
import { call } from './races.js'

const ROOT = '/sys/fs/cgroup'
const OURS = `${ROOT}/gmem-limit`
const SCORE = '/proc/self/oom_score_adj'
/** Documentation/filesystems/proc.rst: such a process is never killed for memory. */
const NEVER_KILLED = '-1000'
/** How long nothing runs at a time, in ms: the call is over by then, or nearly. */
const STILL_MS = 100
/** To cgroup.procs: the process that writes. */
const SELF = Buffer.from('0')

/** What came of a call. */
export interface LimitedResult {
  /** The errno's name, '' for success. */
  readonly code: string
}

/**
 * A memory cgroup with a limit, in which this process is for single system calls only: Node itself would not get far there. The kernel may
 * not kill the process for memory meanwhile, so that the charge fails.
 */
export class MemoryLimit {
  readonly #enter: NativeCall
  readonly #leave: NativeCall

  constructor({ defer }: Pick<GmemContext, 'defer'>, max: Bytes) {
    writeFileSync(`${ROOT}/cgroup.subtree_control`, '+memory')
    mkdirSync(OURS)
    writeFileSync(`${OURS}/memory.max`, String(max))
    const score = readFileSync(SCORE, 'latin1')
    writeFileSync(SCORE, NEVER_KILLED)
    const fds = [OURS, ROOT].map((group) => binding.addon.open(`${group}/cgroup.procs`, O_WRONLY, 0))
    defer(() => {
      for (const fd of fds) binding.addon.close(fd)
      writeFileSync(SCORE, score)
      rmdirSync(OURS)
      writeFileSync(`${ROOT}/cgroup.subtree_control`, '-memory')
    })
    const [enter, leave] = fds.map((fd) => call('pwrite64', fd, SELF, SELF.length, 0))
    if (enter === undefined || leave === undefined) throw new Error('unreachable')
    this.#enter = enter
    this.#leave = leave
  }

  /** Makes a call within the limit. */
  async within(what: NativeCall): Promise<LimitedResult> {
    collectGarbage()
    await sleep(STILL_MS)
    const [entered, made] = await sittingStill(
      binding.addon.syscallsOnThread([this.#enter, what, this.#leave], 1),
    )
    if (entered?.value !== 1n || made === undefined) throw new Error(`this process cannot enter ${OURS}`)
    return { code: Object.keys(made.errors)[0] ?? '' }
  }

  /** What is charged to the cgroup, in bytes: what the process has left there. */
  charged(): bigint {
    return BigInt(readFileSync(`${OURS}/memory.current`, 'latin1').trim())
  }
}

// V8's threads that collect garbage map memory, too: what there is to collect is collected before.
setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Waits without running JavaScript meanwhile: what Node allocated then would be charged, too, and end it where that fails. */
async function sittingStill<T>(pending: Promise<T>): Promise<T> {
  const cell = new Int32Array(new SharedArrayBuffer(4))
  let isOver = false
  const over = pending.finally(() => {
    isOver = true
  })
  while (!isOver) {
    Atomics.wait(cell, 0, 0, STILL_MS)
    await nextTurn()
  }
  return await over
}
