// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { DATA, Machine, op } from './machine.js'
import { addon, anonymous, Scope, vcpuThreads } from './support.js'

const TGKILL = 234
const KICK_SIGNAL = 41

const scope = new Scope()
afterEach(() => scope.close())

async function spinning(deadlineMs: number, operation: number = op.spinRead) {
  const guest = await new Machine(scope).vcpu(scope)
  guest.request(operation, DATA, 4096n, 4n)
  const run = guest.vcpu.run(deadlineMs)
  await guest.untilProgress()
  return { guest, run }
}

describe('a deadline', () => {
  test('ends a run that spins, and the next run goes on where it was', async () => {
    const guest = await new Machine(scope).vcpu(scope)
    guest.request(op.spinWrite, DATA, 4096n, 4n)

    const exit = await guest.vcpu.run(30)

    expect(exit).toMatchObject({
      ret: -1,
      errno: 4,
      code: 'EINTR',
      deadlineExpired: true,
      kicked: false,
      sigbus: null,
    })
    guest.stop()
    guest.expectReady(await guest.vcpu.run(5000))
    expect(guest.done().r[0]).toBe(guest.progress())
  })

  test('takes about as long as it says', async () => {
    const guest = await new Machine(scope).vcpu(scope)
    guest.request(op.spinRead, DATA, 4096n, 4n)
    const start = performance.now()

    await guest.vcpu.run(120)

    expect(performance.now() - start).toBeGreaterThanOrEqual(119)
    expect(performance.now() - start).toBeLessThan(2000)
  })

  test('of 0 completes the exit before, and enters no guest code', async () => {
    const guest = await new Machine(scope).vcpu(scope)
    guest.request(op.spinRead, DATA, 4096n, 4n)

    const exit = await guest.vcpu.run(0)

    expect(exit).toMatchObject({ ret: -1, code: 'EINTR', deadlineExpired: true })
    expect(guest.progress()).toBe(0n)
  })

  test('that has passed once does not end the next run', async () => {
    const guest = await new Machine(scope).vcpu(scope)
    for (let round = 0; round < 50; round += 1) {
      guest.request(op.spinRead, DATA, 4096n, 1n)
      expect(await guest.vcpu.run(1)).toMatchObject({ code: 'EINTR', deadlineExpired: true })
      guest.stop()
      guest.expectReady(await guest.vcpu.run(5000))
    }
  })

  test('that did not pass leaves nothing behind', async () => {
    const guest = await new Machine(scope).vcpu(scope)
    for (let round = 0; round < 200; round += 1) await guest.perform(0)

    expect(guest.done().status).toBe(0n)
  })
})

describe('a kick', () => {
  test('ends a run that spins', async () => {
    const { guest, run } = await spinning(10_000)

    guest.vcpu.kick()

    expect(await run).toMatchObject({ ret: -1, code: 'EINTR', kicked: true, deadlineExpired: false })
  })

  test('is never lost, however early it comes', async () => {
    const guest = await new Machine(scope).vcpu(scope)
    guest.request(op.spinRead, DATA, 4096n, 4n)
    for (let round = 0; round < 500; round += 1) {
      const run = guest.vcpu.run(10_000)
      for (let wait = 0; wait < (round % 50) * 100; wait += 1) performance.now()
      guest.vcpu.kick()
      expect(await run).toMatchObject({ kicked: true, deadlineExpired: false })
    }
  })

  test('that comes when nothing runs does nothing, then and later', async () => {
    const guest = await new Machine(scope).vcpu(scope)

    guest.vcpu.kick()

    expect((await guest.perform(0)).status).toBe(0n)
  })

  test('that comes after the run has ended, but before its promise settled, does not end the next run', async () => {
    const guest = await new Machine(scope).vcpu(scope)
    for (let round = 0; round < 200; round += 1) {
      guest.request(0)
      const run = guest.vcpu.run(5000)
      const until = performance.now() + 0.2
      while (performance.now() < until);
      guest.vcpu.kick()
      const exit = await run
      if (exit.kicked) guest.expectReady(await guest.vcpu.run(5000))
      else guest.expectReady(exit)
      expect((await guest.perform(0)).status).toBe(0n)
    }
  })
})

test('a signal from somebody else does not end a run', async () => {
  const { guest, run } = await spinning(10_000)
  const [thread] = vcpuThreads()

  for (let count = 0; count < 20; count += 1) {
    addon.syscall(TGKILL, [process.pid, thread?.tid ?? 0, KICK_SIGNAL])
    await sleep(1)
  }

  expect(guest.vcpu.running).toBe(true)
  guest.stop()
  guest.expectReady(await run)
})

describe('while it runs', () => {
  test('running is true until the promise settles', async () => {
    const { guest, run } = await spinning(10_000)

    expect(guest.vcpu.running).toBe(true)
    guest.vcpu.kick()
    expect(guest.vcpu.running).toBe(true)
    await run
    expect(guest.vcpu.running).toBe(false)
  })

  const methods = [
    'run',
    'getRegs',
    'setRegs',
    'getSregs',
    'setSregs',
    'setCpuid2',
    'setAffinity',
    'preFaultMemory',
    'ioctl',
    'writeRun',
    'readRun',
    'stats',
  ]
  test.each(methods)('%s is a TypeError', async (method) => {
    const { guest } = await spinning(10_000)

    expect(() => Reflect.apply(Reflect.get(guest.vcpu, method), guest.vcpu, [])).toThrow(
      new TypeError(`Vcpu.${method}: the vCPU is running`),
    )
  })

  test('a forked probe works', async () => {
    const guest = await new Machine(scope).vcpu(scope)
    const memory = anonymous(scope, 4096n)
    guest.request(op.spinRead, DATA, 4096n, 4n)
    const run = guest.vcpu.run(10_000)
    await guest.untilProgress()

    expect(memory.forkProbe(0n, 8, null)).toEqual({ ok: true, value: 0n })

    guest.stop()
    guest.expectReady(await run)
  })

  test('the event loop is free', async () => {
    const { run } = await spinning(100)
    let ticks = 0
    const timer = setInterval(() => {
      ticks += 1
    }, 5)

    await run

    clearInterval(timer)
    expect(ticks).toBeGreaterThan(3)
  })

  test('close() ends the run: its promise resolves as kicked, no thread stays', async () => {
    const { guest, run } = await spinning(10_000)
    expect(vcpuThreads()).toHaveLength(1)

    guest.vcpu.close()

    await expect.poll(vcpuThreads).toEqual([])
    expect(await run).toMatchObject({ code: 'EINTR', kicked: true })
  })
})

test('every vCPU has a thread with its name, until it is closed', async () => {
  const machine = new Machine(scope)
  const guests = [await machine.vcpu(scope, 0), await machine.vcpu(scope, 3)]
  expect(vcpuThreads().map(({ name }) => name)).toEqual(['gmem-vcpu-0', 'gmem-vcpu-3'])

  for (const { vcpu } of guests) vcpu.close()

  await expect.poll(vcpuThreads).toEqual([])
})

test('a vCPU id in use is EEXIST, and leaves no thread', async () => {
  const machine = new Machine(scope)
  await machine.vcpu(scope, 0)

  expect(() => machine.vm.createVcpu(0)).toThrow(/^EEXIST: File exists, KVM_CREATE_VCPU$/)

  await expect.poll(vcpuThreads).toHaveLength(1)
})

describe('setAffinity', () => {
  const allowedOf = (tid: number) =>
    /^Cpus_allowed_list:\t(.+)$/m.exec(readFileSync(`/proc/self/task/${tid}/status`, 'utf8'))?.[1]

  test("moves the vCPU's thread, and no other", async () => {
    const others = new Set(vcpuThreads().map(({ tid }) => tid))
    const guest = await new Machine(scope).vcpu(scope)
    const tid = vcpuThreads().find((thread) => !others.has(thread.tid))?.tid ?? 0
    const own = allowedOf(process.pid)

    guest.vcpu.setAffinity(Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))

    expect(allowedOf(tid)).toBe('0')
    expect(allowedOf(process.pid)).toBe(own)
  })

  test('to no processor at all is EINVAL', async () => {
    const guest = await new Machine(scope).vcpu(scope)

    expect(() => guest.vcpu.setAffinity(new Uint8Array(8))).toThrow(
      expect.objectContaining({ code: 'EINVAL', syscall: 'sched_setaffinity' }),
    )
  })
})
