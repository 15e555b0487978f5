// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import type { Session } from '../../src/pool/session.js'
import { StandbyVms } from '../../src/pool/standby.js'

/** As much of a VM as it takes to wait. */
function vm({ hasEnded = false } = {}) {
  const closed: true[] = []
  const session = {
    exit: hasEnded ? { reason: 'panic' } : null,
    close: async () => void closed.push(true),
  } as unknown as Session
  return { session, closed }
}

test('VMs are taken in the order in which they were started, each once', async () => {
  const [first, second] = [vm(), vm()]
  const standby = new StandbyVms('alike', [Promise.resolve(first.session), Promise.resolve(second.session)])

  expect(await standby.take('alike')).toBe(first.session)
  expect(await standby.take('alike')).toBe(second.session)
  expect(await standby.take('alike')).toBeNull()
})

test('one that did not come up, or has died since, is passed over', async () => {
  const good = vm()
  const standby = new StandbyVms('alike', [
    Promise.reject(new Error('no QEMU')),
    Promise.resolve(vm({ hasEnded: true }).session),
    Promise.resolve(good.session),
  ])

  expect(await standby.take('alike')).toBe(good.session)
})

test('those that are not like what is wanted end, and none is taken', async () => {
  const { session, closed } = vm()
  const standby = new StandbyVms('another kernel', [Promise.resolve(session)])

  expect(await standby.take('alike')).toBeNull()
  expect(closed).toHaveLength(1)
})

test('the end is that of those which nobody took', async () => {
  const [taken, left] = [vm(), vm()]
  const standby = new StandbyVms('alike', [Promise.resolve(taken.session), Promise.resolve(left.session)])
  await standby.take('alike')
  await standby.close()

  expect([taken.closed.length, left.closed.length]).toEqual([0, 1])
})
