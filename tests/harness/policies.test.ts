// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { createKernelPool } from '../../src/pool/index.js'
import { describePlanted } from './support/planted.js'

const ALLOW = `
# one splat of each of two functions
WARN:plant_warn
  reason: planted on purpose
/ at plant_warn_once$/
  reason: planted, once
  kernels: 7.*
`

// Whether a broken kernel leaks, too, is for leaks.test.ts: looking for that would run the file again.
const allowed = { fixture: 'policies', allow: ALLOW, leaks: false }

await describePlanted('splats that may pass', allowed, (planted) => {
  test('are shown with the reason why, and fail nothing; others still do', () => {
    expect(planted.run.outcomes).toEqual({
      'a WARN': 'passed [WARN: planted on purpose]',
      'a WARN_ONCE': 'passed [WARN: planted, once]',
      'the same WARN_ONCE again': 'passed [WARN: planted, once]',
      'a refcount that overflows': 'failed KernelSplat/splat [refcount]',
      'nothing at the end': 'passed',
    })
  })

  test('leave the VM in use: WARN_ONCE fires again in it, for each test', () => {
    expect(planted.run.vms).toBe(2)
  })

  test('need a reason each: an entry without one ends the run before a VM starts', () => {
    const { kernel } = planted.ground
    const options = { kernel, accelerator: 'auto', runDir: '/nonexistent' } as const
    expect(() =>
      createKernelPool({ ...options, allow: 'WARN:plant_warn\n', allowFile: 'splats.allow' }),
    ).toThrow('splats.allow:1: this entry has no reason')
  })
})

await describePlanted('splats that are only shown', { fixture: 'policies', splats: 'warn' }, (planted) => {
  test('fail nothing', () => {
    expect(planted.run.outcomes).toEqual({
      'a WARN': 'passed [WARN]',
      'a WARN_ONCE': 'passed [WARN]',
      'the same WARN_ONCE again': 'passed [WARN]',
      'a refcount that overflows': 'passed [refcount]',
      'nothing at the end': 'passed',
    })
  })
})

await describePlanted(
  'splats that nobody wants to know',
  { fixture: 'policies', splats: 'off' },
  (planted) => {
    test('are not looked for', () => {
      expect(planted.run.tests.map(({ state, splats }) => [state, splats.length])).toEqual(
        Array(5).fill(['passed', 0]),
      )
      expect(planted.run.vms).toBe(1)
    })
  },
)
