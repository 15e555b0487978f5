// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { findGround } from './support/ground.js'
import { runFixture } from './support/run-fixture.js'

const ground = await findGround()

test('dbg', async () => {
  if (typeof ground === 'string') throw new Error(ground)
  const t0 = performance.now()
  const run = await runFixture(ground, process.env.FIXTURE ?? 'splats')
  console.log(performance.now() - t0, run.unhandled, run.outcomes, run.tests.map((t) => `${t.name}: ${Math.round(t.durationMs)}`))
  for (const e of run.events) console.log(JSON.stringify(e).slice(0,300))
  for (const t of run.tests) console.log(t.name, '\n   ', t.errors.map(e=>e.name+': '+e.message.slice(0,500)), t.splats.map(s=>s.title))
  expect(1).toBe(1)
})
