// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { describePlanted } from './support/planted.js'

// A kernel that has stumbled may well leak, and with lockdep off after its first report there is nothing to compare (leaks.test.ts looks).
const options = { fixture: 'debug', kernel: '7.3-debug', leaks: false }

await describePlanted('what only the debug flavour of a kernel sees', options, (planted) => {
  test('fails the test in whose window it falls, with its kind, and no other', () => {
    expect(planted.run.outcomes).toEqual({
      'nothing before': 'passed',
      'a use after free': 'failed KernelSplat/splat [KASAN]',
      'nothing after a use after free': 'passed',
      'a write beyond a slab object': 'failed KernelSplat/splat [KASAN]',
      'two locks in both orders': 'failed KernelSplat/splat [lockdep]',
      'nothing after two locks in both orders': 'passed',
      'a lock that is held on return to user space': 'failed KernelSplat/splat [lockdep]',
      'RCU-protected data outside of a read-side section': 'failed KernelSplat/splat [lockdep]',
      'sleeping in atomic context': 'failed KernelSplat/splat [atomic-sleep]',
      // Two checkers see it: the index before, the write itself.
      'an index out of bounds': 'failed KernelSplat/splat [UBSAN, KASAN]',
      'a use after free and a failed assertion': 'failed AssertionError [KASAN]',
      'nothing at the end': 'passed',
    })
    expect(planted.run.unhandled).toEqual([])
  })

  test('is told with the function that did it', () => {
    expect(planted.run.test('a use after free').splats[0]?.title).toContain('plant_uaf')
    expect(planted.run.test('two locks in both orders').splats[0]?.text).toContain('plant_lockdep_inversion')
  })
})
