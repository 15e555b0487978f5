// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { signalWhenSaid } from './support/from-outside.js'
import { describePlanted } from './support/planted.js'

const VICTIM = 'a test whose QEMU is at risk'
const MARKER = 'the test runs'

await describePlanted(
  'a QEMU that is killed once',
  {
    fixture: 'patient',
    meanwhile: signalWhenSaid(MARKER, 'SIGKILL', 1),
  },
  (planted) => {
    test('makes its test flaky, with both results, and no other', () => {
      expect(planted.run.outcomes).toEqual({
        'nothing before': 'passed',
        [VICTIM]: 'failed FlakyDeath/death',
        'nothing after it': 'passed',
      })
      const [error] = planted.run.test(VICTIM).errors
      expect(error?.message).toContain('flaky: in a fresh VM it passed, but before that the VM ended during')
      expect(error?.message).toContain('QEMU was killed by SIGKILL from outside')
      expect(planted.run.vms).toBe(2)
    })
  },
)

await describePlanted(
  'a QEMU that is killed each time',
  {
    fixture: 'patient',
    meanwhile: signalWhenSaid(MARKER, 'SIGKILL', 2),
  },
  (planted) => {
    test('fails its test for good, and no other', () => {
      expect(planted.run.outcomes).toEqual({
        'nothing before': 'passed',
        [VICTIM]: 'failed GuestDied/death',
        'nothing after it': 'passed',
      })
      expect(planted.run.test(VICTIM).errors[0]?.message).toContain(
        'Deterministic: the same in 2 of 2 fresh VMs.',
      )
    })
  },
)

await describePlanted(
  'a QEMU that is stopped',
  {
    fixture: 'patient',
    retries: 0,
    silenceMs: 6_000,
    meanwhile: signalWhenSaid(MARKER, 'SIGSTOP', 1),
  },
  (planted) => {
    test('hangs its test, and no other', () => {
      expect(planted.run.outcomes).toEqual({
        'nothing before': 'passed',
        [VICTIM]: 'failed GuestHang/hang',
        'nothing after it': 'passed',
      })
      expect(planted.run.events.filter(({ type }) => type === 'death')).toHaveLength(1)
    })
  },
)
