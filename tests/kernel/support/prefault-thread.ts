// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { KVM_PRE_FAULT_MEMORY, kvm_pre_fault_memory } from 'gmem/abi'
import type { GpaRange, Vcpu } from 'gmem/kvm'
import { ADDON } from './conversion-child.js'

/** Prefaults until told to stop, one call after the other; each ends with the errno's name, and what it left, in a set. */
const PREFAULTING = `
  const { parentPort, workerData } = require('node:worker_threads')
  const addon = require(workerData.addon)
  addon.initialize(class extends Error { constructor(code) { super(code); this.code = code } })
  const stop = new Int32Array(workerData.stop)
  const seen = new Set()
  let calls = 0
  parentPort.postMessage('prefaulting')
  while (Atomics.load(stop, 0) === 0 || calls === 0) {
    const request = workerData.request.slice()
    let code = ''
    try { addon.ioctl(workerData.fd, workerData.number, request) } catch (error) { code = error.code }
    seen.add(code + ' ' + new DataView(request.buffer).getBigUint64(8, true))
    calls += 1
  }
  parentPort.postMessage([...seen])
`

/** A thread of this process that prefaults the same range on a vCPU of its own, over and over. */
export interface PrefaultThread {
  /** Ends it: the different outcomes of its calls, each an errno's name (or nothing), a space, and the bytes that were left. */
  stop(): Promise<string[]>
}

/** Starts one, and waits until it prefaults. */
export async function startPrefaulting(vcpu: Vcpu, range: GpaRange): Promise<PrefaultThread> {
  const stop = new SharedArrayBuffer(4)
  const worker = new Worker(PREFAULTING, {
    eval: true,
    workerData: {
      addon: ADDON,
      fd: vcpu.fd,
      number: KVM_PRE_FAULT_MEMORY,
      request: kvm_pre_fault_memory.encode(range),
      stop,
    },
  })
  await once(worker, 'message')
  return {
    async stop() {
      const message = once(worker, 'message')
      const exit = once(worker, 'exit')
      Atomics.store(new Int32Array(stop), 0, 1)
      const [outcomes] = await message
      await exit
      return outcomes
    },
  }
}
