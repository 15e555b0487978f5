// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { describePlanted } from './support/planted.js'

await describePlanted('the death of a VM', { fixture: 'deaths' }, (planted) => {
  const messageOf = (name: string): string => planted.run.test(name).errors[0]?.message ?? ''

  test('fails the test that ran, and no other; those after it have their results', () => {
    expect(planted.run.outcomes).toEqual({
      'nothing before': 'passed',
      'a BUG': 'failed GuestDied/death [BUG]',
      'nothing after a BUG': 'passed',
      'a null dereference': 'failed GuestDied/death [Oops]',
      'a general protection fault': 'failed GuestDied/death [Oops]',
      'a panic': 'failed GuestDied/death [panic]',
      'a triple fault': 'failed GuestDied/death',
      'a reboot that nobody asked for': 'failed GuestDied/death',
      'nothing between': 'passed',
      'the OOM killer': expect.stringMatching(/^failed GuestDied\/death \[OOM(, OOM)?\]$/),
      'a signal that ends the worker': 'failed GuestDied/death',
      'an exit of the worker': 'failed GuestDied/death',
      'a panic right after the test': 'failed GuestDied/death [panic]',
      'nothing at the end': 'passed',
    })
    expect(planted.run.unhandled).toEqual([])
  })

  test.for([
    ['a BUG', /^the guest kernel died during "a BUG": kernel BUG at gmem_plant\.c:\d+ in plant_bug/],
    [
      'a null dereference',
      /^the guest kernel died .*: BUG: kernel NULL pointer dereference in plant_null_deref/,
    ],
    ['a general protection fault', /^the guest kernel died .*: Oops: general protection fault in plant_gpf/],
    ['a panic', /^the guest kernel died .*: Kernel panic: gmem_plant: a planted panic/],
    ['a triple fault', /^the guest kernel died .*: unexpected reset: a triple fault/],
    ['the OOM killer', /^the test worker died .*: killed by signal 9 \(SIGKILL\): .*[Oo]ut of memory/],
    ['a signal that ends the worker', /^the test worker died .*: killed by signal 11 \(SIGSEGV\)/],
    ['an exit of the worker', /^the test worker died .*: exited with status 7/],
    [
      'a panic right after the test',
      /^the guest kernel died right after "a panic right after the test": Kernel panic/,
    ],
  ] as const)('says who died, and of what: %s', ([name, message]) => {
    expect(messageOf(name)).toMatch(message)
  })

  test('is told with the end of the console', () => {
    expect(messageOf('a null dereference')).toContain('RIP: 0010:plant_null_deref')
    expect(messageOf('a panic')).toContain('Call Trace:')
  })

  test('that comes again in a fresh VM is called deterministic', () => {
    const dead = planted.run.tests.filter(({ state }) => state === 'failed')
    for (const { name } of dead)
      expect(messageOf(name)).toContain('Deterministic: the same in 2 of 2 fresh VMs.')
    expect(planted.run.vms).toBe(1 + 2 * dead.length)
  })

  test('is an event of its own each time', () => {
    const deaths = planted.run.events.filter((event) => event.type === 'death')
    expect(deaths.filter(({ test: name }) => name === 'a BUG')).toHaveLength(2)
  })
})
