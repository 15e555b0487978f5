// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { scaledMs } from 'gmem/kvm'
import { type GmemContext, type Need, need } from 'gmem/testing'
import { ownVm } from './own-vm.js'

const ROOT = '/sys/fs/cgroup'
const OURS = `${ROOT}/gmem-test`
const WAIT_MS = 5000
const POLL_MS = 50

const memoryController: Need = need('the memory controller of cgroups', () => {
  try {
    const controllers = readFileSync(`${ROOT}/cgroup.controllers`, 'latin1')
    return controllers.includes('memory') ? null : `${ROOT} has only: ${controllers.trim()}`
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
})

/** A control group for memory can be made for this process, in a VM of gmem's own. */
export const memoryCgroup: readonly Need[] = [ownVm, memoryController]

/** The memory cgroup that this process is in during a test. */
export class MemoryCgroup {
  /** Moves the process into a new one, and back after the test. */
  constructor({ defer }: Pick<GmemContext, 'defer'>) {
    writeFileSync(`${ROOT}/cgroup.subtree_control`, '+memory')
    mkdirSync(OURS)
    writeFileSync(`${OURS}/cgroup.procs`, String(process.pid))
    defer(() => {
      writeFileSync(`${ROOT}/cgroup.procs`, String(process.pid))
      rmdirSync(OURS)
      writeFileSync(`${ROOT}/cgroup.subtree_control`, '-memory')
    })
  }

  /** Waits until a number of memory.stat is as wanted; what it is in the end. The kernel updates them now and then. */
  async reaches(name: string, wanted: bigint): Promise<bigint> {
    const end = performance.now() + scaledMs(WAIT_MS)
    while (this.stat(name) !== wanted && performance.now() < end) await sleep(POLL_MS)
    return this.stat(name)
  }

  /** A number of memory.stat, in bytes. */
  stat(name: string): bigint {
    const lines = readFileSync(`${OURS}/memory.stat`, 'latin1').split('\n')
    const line = lines.find((each) => each.startsWith(`${name} `))
    return BigInt(line?.slice(name.length + 1) ?? -1)
  }
}
