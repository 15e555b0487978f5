// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { BINDING_PATH, inChild, runNode } from './support.js'

describe('in a process of its own', () => {
  // A guest that spins in real mode at address 0: jmp to itself.
  const spin = `
    const vm = kvm.createVm(0n)
    const memory = addon.mmap(4096n, 3, 34, -1, 0n, 0n)
    memory.write(0n, Uint8Array.of(0xeb, 0xfe))
    vm.setUserMemoryRegion(0, 0, 0n, 4096n, memory.address)
    const vcpu = vm.createVcpu(0)
    vcpu.setCpuid2(kvm.supportedCpuid())
    const sregs = vcpu.getSregs()
    sregs.fill(0, 0, 8)
    sregs.fill(0, 12, 14)
    vcpu.setSregs(sregs)
    const regs = new Uint8Array(144)
    regs[17 * 8] = 2
    vcpu.setRegs(regs)
    const run = vcpu.run(20_000)
    await new Promise((resolve) => setTimeout(resolve, 50))
    if (!vcpu.running) throw new Error(JSON.stringify(await run, (_, value) => value))`

  test('process.exit with a vCPU that runs', async () => {
    const start = performance.now()

    const outcome = await inChild(`${spin}\nconsole.log('end'); process.exit(3)`)

    expect(outcome).toMatchObject({ stdout: 'end', code: 3, signal: null, stderr: '' })
    expect(performance.now() - start).toBeLessThan(5000)
  })

  test('an uncaught exception with a vCPU that runs', async () => {
    const outcome = await inChild(`${spin}\nthrow new Error('deliberate')`)

    expect(outcome).toMatchObject({ code: 1, signal: null })
    expect(outcome.stderr).toContain('deliberate')
  })

  test('a run keeps the process alive until it has ended', async () => {
    const outcome = await inChild(
      `${spin.replace('20_000', '200')}\nrun.then((exit) => console.log(exit.code))`,
    )

    expect(outcome).toMatchObject({ stdout: 'EINTR', code: 0 })
  })

  test('a worker thread that is terminated while its vCPU runs', async () => {
    const worker = `
      import { parentPort } from 'node:worker_threads'
      import { binding } from ${JSON.stringify(BINDING_PATH)}
      const { addon } = binding
      const kvm = addon.openKvm('/dev/kvm')
      ${spin}
      parentPort.postMessage('runs')`
    const outcome = await inChild(`
      import { Worker } from 'node:worker_threads'
      for (let round = 0; round < 3; round++) {
        const worker = new Worker(${JSON.stringify(worker)}, { eval: true })
        await new Promise((resolve, reject) => { worker.on('message', resolve); worker.on('error', reject) })
        await worker.terminate()
      }
      const vm = kvm.createVm(0n)
      vm.createVcpu(0).close()
      console.log(addon.mmap(4096n, 3, 34, -1, 0n, 0n).probeRead(0n, 8).ok)`)

    expect(outcome).toEqual({ stdout: 'true', code: 0, signal: null, stderr: '' })
  })

  test('the addon may be loaded in a worker thread only, and its signal handlers stay', async () => {
    const program = `
      const { Worker } = require('node:worker_threads')
      const worker = new Worker('import(' + ${JSON.stringify(JSON.stringify(BINDING_PATH))} +
        ').then(({ binding }) => binding.addon.mmap(4096n, 3, 34, -1, 0n, 0n).probeRead(0n, 8))', { eval: true })
      worker.on('exit', (code) => { console.log('exit', code); process.kill(process.pid, 'SIGSEGV') })`
    const { stdout, signal } = await runNode(['--eval', program])

    expect({ stdout, signal }).toEqual({ stdout: 'exit 0', signal: 'SIGSEGV' })
  })
})
