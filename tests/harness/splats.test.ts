// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { describePlanted } from './support/planted.js'

// Leaks are another matter (leaks.test.ts), and a kernel that has stalled may well leak: looking for that would run the file again.
const options = { fixture: 'splats', leaks: false }

await describePlanted('what the kernel complains about', options, (planted) => {
  test('fails the test in whose window it falls, with its kind, and no other', () => {
    expect(planted.run.outcomes).toEqual({
      'nothing before': 'passed',
      'a WARN': 'failed KernelSplat/splat [WARN]',
      'nothing after a WARN': 'passed',
      'a WARN_ONCE': 'failed KernelSplat/splat [WARN]',
      'the same WARN_ONCE again': 'failed KernelSplat/splat [WARN]',
      'two WARNs of which one comes twice': 'failed KernelSplat/splat [WARN, WARN]',
      'a WARN and a failed assertion': 'failed AssertionError [WARN]',
      'a list that is corrupted': 'failed KernelSplat/splat [list-corruption]',
      'a refcount that overflows': 'failed KernelSplat/splat [refcount]',
      'sleeping in atomic context': 'failed KernelSplat/splat [atomic-sleep]',
      'a soft lockup': 'failed KernelSplat/splat [soft-lockup]',
      'a hung task': 'failed KernelSplat/splat [hung-task]',
      'an RCU stall': 'failed KernelSplat/splat [RCU-stall]',
      'a workqueue that stalls': expect.stringMatching(
        /^failed KernelSplat\/splat \[workqueue(, workqueue)*\]$/,
      ),
      'a WARN of a kernel thread right after the test': 'failed KernelSplat/splat [WARN]',
      'nothing between': 'passed',
      'a WARN of a kernel thread after the last test': 'failed KernelSplat/splat [WARN]',
    })
    expect(planted.run.unhandled).toEqual([])
  })

  test('is told with the function that did it and the whole report', () => {
    const [error] = planted.run.test('a WARN').errors
    expect(error?.message).toMatch(
      /^the kernel complained during this test: WARNING: gmem_plant\.c:\d+ at plant_warn/,
    )
    expect(error?.message).toContain('Call Trace:')
    expect(planted.run.test('a list that is corrupted').splats[0]?.title).toContain('plant_list_corruption')
    expect(planted.run.test('a hung task').splats[0]?.text).toContain('plant_hung_task')
  })

  test('is counted where it comes more than once', () => {
    const { splats } = planted.run.test('two WARNs of which one comes twice')
    expect(splats.map(({ function: name, count }) => [name, count])).toEqual([
      ['plant_warn', 2],
      ['plant_warn_once', 1],
    ])
  })

  test('is taken back from a test that had passed, where it came right after it', () => {
    for (const when of ['right after the test', 'after the last test']) {
      const [error] = planted.run.test(`a WARN of a kernel thread ${when}`).errors
      expect(error?.message).toMatch(
        /^the kernel complained right after this test: WARNING: .* late_warn_thread/,
      )
    }
  })

  test('ends the life of its VM: each has one of its own', () => {
    const splats = planted.run.tests.filter((each) => each.splats.length > 0).length
    expect(planted.run.vms).toBe(1 + splats)
    expect(planted.run.events.filter(({ type }) => type === 'death')).toEqual([])
  })

  test('keeps the time that its test took in the VM that it broke', () => {
    expect(planted.run.test('a hung task').durationMs).toBeGreaterThan(3900)
  })
})
