// SPDX-License-Identifier: Apache-2.0
/**
 * The worker in the guest: PID 1 starts it, it loads everything that a test file will need, says hello (the VM is saved
 * here), and from then on speaks vitest's worker protocol over the virtio-serial port.
 */
import { release } from 'node:os'
import { init, runBaseTests, setupEnvironment } from 'vitest/worker'
import { forgetSlowdown } from '../../kvm/index.js'
import { probeTarget, setTestObserver, warmUp } from '../../testing/index.js'
import type { BenchLimits, BenchName } from '../bench.js'
import type { HostMessage } from '../protocol.js'
import { calibrate } from './calibrate.js'
import { digestsOf, exchangeKvm, unloadKvm } from './exchange.js'
import { Observer } from './observer.js'
import { GuestPort } from './port.js'
import { Shell } from './shell.js'
import { openKernelLog } from './trouble.js'
import { VitestLine } from './vitest-line.js'
import { becomeUnique } from './wake.js'

const HEARTBEAT_MS = 1000

const { GMEM_OUT_PORT, GMEM_IN_PORT } = process.env
if (GMEM_OUT_PORT === undefined || GMEM_IN_PORT === undefined)
  throw new Error('GMEM_OUT_PORT and GMEM_IN_PORT are not set: this is started by gmem-init inside a VM')

const port = new GuestPort(GMEM_OUT_PORT, GMEM_IN_PORT, receive)
const observer = new Observer(port)
const shell = new Shell(port)
const line = new VitestLine((message) => port.send({ type: 'vitest', message }))

init({
  on: line.on,
  off: line.off,
  post: line.post,
  runTests: async (state, traces) => {
    await runBaseTests('run', state, traces)
    await observer.settle()
  },
  collectTests: (state, traces) => runBaseTests('collect', state, traces),
  setup: setupEnvironment,
})
setTestObserver(observer)
await preload().catch(giveUp)
const calibrationMs = calibrate()
port.send({ type: 'hello' })

/** Ends at once. In an orderly exit libuv would join the thread that reads the port, and so never end. */
function giveUp(error: unknown): void {
  console.error(error)
  process.kill(process.pid, 'SIGKILL')
}

function receive(message: HostMessage): void {
  switch (message.type) {
    case 'wake':
      Object.assign(process.env, { GMEM_SLOWDOWN: slowdownAgainst(message.hostCalibrationMs) }, message.env)
      forgetSlowdown()
      becomeUnique(message.entropy, message.realtimeNs)
      setInterval(() => port.send({ type: 'heartbeat' }), HEARTBEAT_MS)
      port.send({ type: 'awake', release: release(), slowdown: Number(process.env.GMEM_SLOWDOWN) })
      break
    case 'exchange':
      port.send({ type: 'exchanged', error: exchangeKvm(message.files) })
      break
    case 'unload-kvm':
      port.send({ type: 'kvm-unloaded', error: unloadKvm(), digests: digestsOf(message.paths) })
      break
    case 'ledger':
      observer.begin(message.policy, message.entries)
      break
    case 'vitest':
      line.receive(message.message)
      break
    case 'ahead':
      line.know(message.answer)
      break
    case 'probe':
      port.send({ type: 'probe', probe: probeTarget() })
      break
    case 'bench':
      void bench(message.name, message.limits)
      break
    case 'shell-input':
      shell.input(message.data, message.columns)
      break
  }
}

/** Its code is loaded only here: tests have no use for it. */
async function bench(name: BenchName, limits: BenchLimits): Promise<void> {
  const onStep = (what: string): void => port.send({ type: 'bench-step', what })
  try {
    const result =
      name === 'convert'
        ? await (await import('./bench/conversion.js')).benchConversion(limits, onStep)
        : await (await import('./bench/population.js')).benchPopulation(limits, onStep)
    port.send({ type: 'bench-result', result, error: '' })
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    port.send({ type: 'bench-result', result: null, error: text })
  }
}

function slowdownAgainst(hostMs: number): string {
  return Math.max(1, calibrationMs / hostMs).toFixed(1)
}

/** Loads, before the VM is saved, what vitest would otherwise load for every file. */
async function preload(): Promise<void> {
  await Promise.all([import('vitest'), import('@vitest/runner'), import('../../kvm/index.js')])
  await warmUp()
  openKernelLog()
}
