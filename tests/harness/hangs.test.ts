// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { describePlanted } from './support/planted.js'

await describePlanted('a hang', { fixture: 'hangs', retries: 0, silenceMs: 8_000 }, (planted) => {
  const messageOf = (name: string): string => planted.run.test(name).errors[0]?.message ?? ''

  test('fails the test that hangs, and no other; those after it have their results', () => {
    expect(planted.run.outcomes).toEqual({
      'nothing before': 'passed',
      'a call that never returns from the kernel': 'failed GuestHang/hang',
      'a guest that answers nobody': 'failed GuestHang/hang',
      'nothing between': 'passed',
      'a vCPU that never exits': 'failed TestTimeoutError',
      'nothing after a vCPU that never exits': 'passed',
      'a promise that never settles': 'failed TestTimeoutError',
      'nothing at the end': 'passed',
    })
    expect(planted.run.unhandled).toEqual([])
  })

  test('in the kernel is told with the stack of the task that is blocked', () => {
    expect(messageOf('a call that never returns from the kernel')).toMatch(
      /^the guest hung during "a call that never returns from the kernel": no sign of life for \d+\.\d s\n/,
    )
    expect(messageOf('a call that never returns from the kernel')).toContain('plant_hung_task')
  })

  test('with interrupts off is told with what an NMI finds', () => {
    expect(messageOf('a guest that answers nobody')).toContain('spin_without_interrupts')
  })

  test('of a vCPU is told with its last calls', () => {
    expect(messageOf('a vCPU that never exits')).toMatch(/did not finish within \d+ ms/)
    expect(messageOf('a vCPU that never exits')).toContain('run(')
  })

  test('costs a VM each: what hangs may still run', () => {
    expect(planted.run.vms).toBe(1 + 4)
  })
})

await describePlanted('an event loop that is stuck for ever', { fixture: 'stuck', retries: 0 }, (planted) => {
  test('is found within 40 s of the time that its VM gets', () => {
    const [error] = planted.run.test('an event loop that is stuck for ever').errors
    const seconds = Number(/no sign of life for ([\d.]+) s/.exec(error?.message ?? '')?.[1])
    expect(seconds).toBeLessThan(40)
    expect(planted.run.outcomes).toEqual({
      'an event loop that is stuck for ever': 'failed GuestHang/hang',
      'nothing after it': 'passed',
    })
  })
})

await describePlanted(
  'a file that waits for ever while it is imported',
  { fixture: 'unready', retries: 0, betweenTestsMs: 8_000 },
  (planted) => {
    test('ends the run with an error that says so', () => {
      const deaths = planted.run.events.filter(({ type }) => type === 'death')
      expect(deaths).toEqual([
        expect.objectContaining({
          message: expect.stringMatching(
            /^the guest hung while no test ran: no test began or ended for \d+\.\d s, and the file did not end/,
          ),
        }),
      ])
      expect(planted.run.outcomes).toEqual({})
      expect(planted.run.unhandled).not.toEqual([])
    })
  },
)
