// SPDX-License-Identifier: Apache-2.0
import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { encodeFrame } from '../../src/channel/frames.js'
import { Session } from '../../src/pool/session.js'
import type { Machine } from '../../src/qemu/machine.js'

test('what a VM said before its end is heard before its end is told', async () => {
  const fromGuest = new PassThrough()
  const exited = Promise.resolve({ reason: 'killed' })
  const machine = { fromGuest, toGuest: new PassThrough(), exited } as unknown as Machine
  const session = new Session(machine, true)
  const heard: string[] = []
  session.on('message', ({ type }) => heard.push(type))
  session.on('exit', ({ reason }) => heard.push(reason))
  await exited
  await new Promise(setImmediate)

  fromGuest.end(encodeFrame({ type: 'heartbeat' }))

  await new Promise((resolve) => session.once('exit', resolve))
  expect(heard).toEqual(['heartbeat', 'killed'])
})
