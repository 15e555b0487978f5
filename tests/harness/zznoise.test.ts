import { test } from 'vitest'
import { findGround } from './support/ground.js'
import { runFixture } from './support/run-fixture.js'
const ground = await findGround()
test('noise', async () => {
  if (typeof ground === 'string') throw new Error(ground)
  const run = await runFixture(ground, 'zznoise')
  console.log(run.unhandled, run.tests.filter((t) => t.state !== 'passed').map((t) => `${t.name} ${t.errors.map((e) => e.message)}`).join('\n'))
})
