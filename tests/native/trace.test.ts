// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from 'vitest'
import { addon, anonymous, PAGE, Scope, thrownBy, trace } from './support.js'

const scope = new Scope()
beforeEach(() => trace.start())
afterEach(() => scope.close())

test('records calls in order, with names for objects, results and errors', () => {
  const vm = scope.use(scope.use(addon.openKvm('/dev/kvm')).createVm(0n))
  thrownBy(() => vm.createGuestMemfd(1n, 0n))

  const [open, create, refused] = trace.take()

  expect(open).toMatchObject({ object: null, call: 'openKvm', args: ['/dev/kvm'] })
  expect(create).toMatchObject({ object: expect.stringMatching(/^kvm#\d+$/), call: 'createVm', args: [0n] })
  expect(create?.result).toEqual({ object: refused?.object })
  expect(refused).toMatchObject({
    call: 'createGuestMemfd',
    args: [1n, 0n],
    error: { name: 'KernelError', code: 'EINVAL' },
  })
  expect(refused).not.toHaveProperty('result')
  expect([open, create, refused].map((entry) => (entry?.seq ?? 0) - (open?.seq ?? 0))).toEqual([0, 1, 2])
})

test('keeps bytes as they were at the call, up to 256', () => {
  const mapping = anonymous(scope, PAGE)
  trace.start()
  const data = new Uint8Array(1000).fill(7)

  mapping.write(0n, data)
  data.fill(8)

  expect(trace.take()).toMatchObject([
    { call: 'write', args: [0n, { length: 1000, head: new Uint8Array(256).fill(7) }] },
  ])
})

test('shows a run as not come back until it has', async () => {
  const vcpu = scope.use(scope.use(scope.use(addon.openKvm('/dev/kvm')).createVm(0n)).createVcpu(0))
  trace.start()

  const run = vcpu.run(0)
  const [entry] = trace.take()

  expect(entry).not.toHaveProperty('result')
  await run
  expect(entry).toMatchObject({ call: 'run', result: { ret: -1 } })
})

test('holds the last 4096 calls', () => {
  for (let call = 0; call < 5000; call += 1) addon.errnoName(call)

  const entries = trace.take()

  expect(entries).toHaveLength(4096)
  expect(entries[0]).toMatchObject({ args: [904] })
  expect(entries.at(-1)).toMatchObject({ args: [4999] })
  expect(trace.take()).toEqual([])
})
