// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { detectSplats } from '../../src/splats/detect.js'
import { said, stackDump } from './splats-samples.js'

/*
 * Not recorded: these texts are put together after the format strings of 7.3.4's source, for checkers that
 * the plain kernel is built without.
 */
const found = (text: string) => detectSplats(said(text))

describe('kernel/locking/lockdep.c', () => {
  test.each([
    [
      'WARNING: possible circular locking dependency detected',
      'possible circular locking dependency detected',
    ],
    ['WARNING: possible recursive locking detected', 'possible recursive locking detected'],
    [
      'WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected',
      'HARDIRQ-safe -> HARDIRQ-unsafe lock order detected',
    ],
    [
      'WARNING: possible irq lock inversion dependency detected',
      'possible irq lock inversion dependency detected',
    ],
    ['WARNING: inconsistent lock state', 'inconsistent lock state'],
    ['WARNING: suspicious RCU usage', 'suspicious RCU usage'],
    ['WARNING: bad unlock balance detected!', 'bad unlock balance detected'],
    ['WARNING: held lock freed!', 'held lock freed'],
    ['WARNING: lock held when returning to user space!', 'lock held when returning to user space'],
    ['WARNING: gmem-t7/42 still has locks held!', 'task still has locks held'],
    ['WARNING: Nested lock was not taken', 'Nested lock was not taken'],
    ['[ BUG: Invalid wait context ]', 'Invalid wait context'],
  ])('%s', (header, title) => {
    const text = [
      '',
      '='.repeat(54),
      header,
      '7.3.4 #1 Not tainted',
      '-'.repeat(54),
      'gmem-t7/42 is trying to acquire lock:',
      'ffffffffa0203040 (second_lock){+.+.}-{4:4}, at: lock_in_order+0x1f/0x40 [gmem_plant]',
      '',
      'the existing dependency chain (in reverse order) is:',
      '',
      '-> #1 (second_lock){+.+.}-{4:4}:',
      '       lock_acquire+0xc8/0x2f0',
      '       some_other_path+0x10/0x20',
      '',
      ' *** DEADLOCK ***',
      '',
      'stack backtrace:',
      stackDump(
        'print_circular_bug',
        'check_noncircular',
        '__lock_acquire',
        'lock_acquire',
        '__mutex_lock',
        'lock_in_order',
        'plant_lockdep_inversion',
      ),
      'unrelated: a line of the same task',
    ].join('\n')
    expect(found(text)).toMatchObject([
      {
        kind: 'lockdep',
        title: `${title} in lock_in_order`,
        fingerprint: 'lockdep:lock_in_order:plant_lockdep_inversion',
        task: { comm: 'gmem-t7', pid: 42 },
      },
    ])
    expect(found(text)[0]?.text).not.toContain('unrelated')
  })

  test('a lock held on return to user space has no stack', () => {
    const text = `\n${'='.repeat(48)}\nWARNING: lock held when returning to user space!\n7.3.4 #1 Not tainted\n${'-'.repeat(48)}\ngmem-t7/42 is leaving the kernel with locks still held!\n1 lock held by gmem-t7/42:\n #0: ffffffffa0203040 (first_lock){+.+.}-{4:4}, at: plant_lock_held+0x1f/0x40`
    expect(found(text)).toMatchObject([
      { kind: 'lockdep', fingerprint: 'lockdep:lock held when returning to user space' },
    ])
  })
})
