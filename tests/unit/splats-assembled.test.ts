// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { detectSplats } from '../../src/splats/detect.js'
import { said, stackDump } from './splats-samples.js'

/*
 * Not recorded: these texts are put together after the format strings of 7.3.4's source, for checkers that
 * the plain kernel is built without.
 */
const BAR = '='.repeat(66)
const found = (text: string) => detectSplats(said(text))
const TRACE = stackDump('kvm_gmem_fault_user_mapping', 'do_fault')

describe('mm/kasan, mm/kfence, kernel/kcsan, lib/ubsan.c', () => {
  test('KASAN, with where the object came from', () => {
    const text = [
      BAR,
      'BUG: KASAN: slab-use-after-free in plant_uaf+0x6a/0x90 [gmem_plant]',
      'Write of size 1 at addr ff11000001a2b308 by task gmem-t7/42',
      '',
      stackDump('print_report', 'kasan_report', 'plant_uaf', 'plant_write').replace(
        'Not tainted',
        'Tainted: G           O       ',
      ),
      '',
      'Allocated by task 42 on cpu 1 at 5.123456s:',
      ' kasan_save_stack+0x24/0x50',
      ' plant_uaf+0x22/0x90 [gmem_plant]',
      '',
      'Freed by task 42 on cpu 1 at 5.123466s:',
      ' kfree+0x1/0x2',
      '',
      'The buggy address belongs to the object at ff11000001a2b300\n which belongs to the cache kmalloc-128 of size 128',
      'Memory state around the buggy address:',
      '>ff11000001a2b300: fa fb fb fb',
      BAR,
    ].join('\n')
    expect(found(text)).toMatchObject([
      {
        kind: 'KASAN',
        title: 'KASAN: slab-use-after-free in plant_uaf',
        fingerprint: 'KASAN:plant_uaf:plant_write',
        task: { comm: 'gmem-t7', pid: 42 },
      },
    ])
    expect(
      found(text)[0]
        ?.text.split('\n')
        .filter((line) => line === BAR),
    ).toHaveLength(2)
  })

  test('two KASAN reports one after the other are two', () => {
    const report = (name: string) =>
      `${BAR}\nBUG: KASAN: slab-out-of-bounds in ${name}+0x1/0x2\n${stackDump('kasan_report', name)}\n${BAR}`
    expect(found(`${report('one')}\n${report('two')}`).map((splat) => splat.function)).toEqual(['one', 'two'])
  })

  test('KASAN behind a fault on its shadow stays an oops', () => {
    const text = [
      'Oops: general protection fault, probably for non-canonical address 0xdffffc0000000003: 0000 [#1] SMP KASAN',
      'KASAN: null-ptr-deref in range [0x0000000000000018-0x000000000000001f]',
      'RIP: 0010:kvm_gmem_bind+0x12/0x300 [kvm]',
      stackDump('kvm_set_memslot'),
      '---[ end trace 0000000000000000 ]---',
    ].join('\n')
    expect(found(text)).toMatchObject([
      { kind: 'Oops', title: 'Oops: general protection fault in kvm_gmem_bind' },
    ])
  })

  test('KFENCE', () => {
    const text = `${BAR}\nBUG: KFENCE: use-after-free write in plant_uaf+0x6a/0x90\n\nUse-after-free write at 0x00000000 (in kfence-#77):\n plant_uaf+0x6a/0x90\n\n${TRACE}\n${BAR}`
    expect(found(text)).toMatchObject([
      { kind: 'KFENCE', title: 'KFENCE: use-after-free write in kvm_gmem_fault_user_mapping' },
    ])
  })

  test('KCSAN, whose fingerprint does not depend on which side came first', () => {
    const race = (a: string, b: string) =>
      `${BAR}\nBUG: KCSAN: data-race in ${a} / ${b}\n\nwrite to 0xffffffffa0203040 of 8 bytes by task 41 on cpu 0:\n ${a}+0x20/0x60\n\nread to 0xffffffffa0203040 of 8 bytes by task 42 on cpu 1:\n ${b}+0x18/0x60\n\nvalue changed: 0x01 -> 0x02\n\nReported by Kernel Concurrency Sanitizer on:\nCPU: 1 UID: 0 PID: 42 Comm: gmem-t7 Not tainted 7.3.4 #1\n${BAR}`
    const [one] = found(race('race_thread', 'plant_race'))
    const [other] = found(race('plant_race', 'race_thread'))
    expect(one).toMatchObject({ kind: 'KCSAN', title: 'KCSAN: data-race in race_thread / plant_race' })
    expect(one?.fingerprint).toBe('KCSAN:plant_race:race_thread')
    expect(other?.fingerprint).toBe(one?.fingerprint)
  })

  test('UBSAN', () => {
    const text = `------------[ cut here ]------------\nUBSAN: array-index-out-of-bounds in gmem_plant.c:270:7\nindex 4 is out of range for type 'int [4]'\n${stackDump('ubsan_epilogue', '__ubsan_handle_out_of_bounds', 'plant_ubsan')}\n---[ end trace ]---`
    expect(found(text)).toMatchObject([
      {
        kind: 'UBSAN',
        title: 'UBSAN: array-index-out-of-bounds in gmem_plant.c:270',
        fileLine: 'gmem_plant.c:270',
        function: 'plant_ubsan',
      },
    ])
  })
})

describe('one kind each', () => {
  test.each([
    [
      'atomic-sleep',
      'BUG: sleeping function called from invalid context at kernel/locking/mutex.c:591',
      'BUG: sleeping function called from invalid context',
    ],
    [
      'preemptible',
      'BUG: using smp_processor_id() in preemptible [00000000] code: gmem-t7/42',
      'BUG: using smp_processor_id() in preemptible code',
    ],
    ['spinlock', 'BUG: spinlock bad magic on CPU#1, gmem-t7/42', 'BUG: spinlock bad magic'],
    ['bad-page', 'BUG: Bad page state in process gmem-t7  pfn:02f5c', 'BUG: Bad page state'],
    ['bad-page', 'BUG: Bad page map in process gmem-t7  pte:8000000002f5c867', 'BUG: Bad page map'],
    [
      'hard-lockup',
      'watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 1',
      'Watchdog detected hard LOCKUP',
    ],
    [
      'RCU-stall',
      'rcu: INFO: rcu_preempt self-detected stall on CPU',
      'INFO: rcu_preempt self-detected stall on CPU',
    ],
    [
      'RCU-stall',
      'rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-...D } 26 jiffies s: 45 root: 0x2/.',
      'INFO: rcu_preempt detected expedited stalls on CPUs/tasks',
    ],
    [
      'stack-overflow',
      'traps: BUG: TASK stack guard page was hit at ff1100 (stack is ff1200..ff1300)',
      'BUG: TASK stack guard page was hit',
    ],
    ['double-fault', 'traps: PANIC: double fault, error_code: 0x0', 'PANIC: double fault'],
    [
      'workqueue',
      'BUG: workqueue leaked atomic, lock or RCU: kworker/0:0[9]',
      'BUG: workqueue leaked atomic, lock or RCU',
    ],
    ['BUG', 'BUG: mempool element poison mismatch', 'BUG: mempool element poison mismatch'],
  ])('%s: %s', (kind, header, title) => {
    expect(found(`${header}\n${TRACE}`)).toMatchObject([
      { kind, title: `${title} in kvm_gmem_fault_user_mapping` },
    ])
  })

  test('a double fault is not overruled by the Oops line that follows', () => {
    expect(
      found(`traps: PANIC: double fault, error_code: 0x0\nOops: double fault: 0000 [#1] SMP\n${TRACE}`),
    ).toMatchObject([{ kind: 'double-fault' }])
  })

  test('debugobjects and usercopy, from what they say before the WARN or BUG', () => {
    const cut = '------------[ cut here ]------------'
    const warn = 'WARNING: lib/debugobjects.c:629 at debug_print_object+0x1/0x2, CPU#1: gmem-t7/42'
    const odebug =
      'ODEBUG: free active (active state 0) object: 000000001 object type: timer_list hint: take+0x0/0x10'
    expect(found(`${cut}\n${odebug}\n${warn}\n${TRACE}\n---[ end trace 0 ]---`)).toMatchObject([
      { kind: 'debugobjects', title: 'ODEBUG: free active timer_list in kvm_gmem_fault_user_mapping' },
    ])
    const copy =
      "usercopy: Kernel memory overwrite attempt detected to SLUB object 'kmalloc-64' (offset 0, size 65)!"
    expect(
      found(
        `${copy}\n${cut}\nkernel BUG at mm/usercopy.c:102!\nOops: invalid opcode: 0000 [#1] SMP\n${TRACE}\n---[ end trace 0 ]---`,
      ),
    ).toMatchObject([
      {
        kind: 'usercopy',
        title:
          "usercopy: Kernel memory overwrite attempt detected to SLUB object 'kmalloc-64' in kvm_gmem_fault_user_mapping",
      },
    ])
  })

  test.each([
    ['kmemleak', 'kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)'],
    ['BUG', 'VFS: Busy inodes after unmount of guest_memfd (guest_memfd)'],
    ['bad-page', 'BUG: non-zero pgtables_bytes on freeing mm: 4096'],
    ['OOM', 'Memory cgroup out of memory: Killed process 42 (gmem-t7) total-vm:1kB, anon-rss:1kB'],
  ])('%s is complete in one line: %s', (kind, line) => {
    expect(found(`${line}\n${line}\nsomething else`).map((splat) => [splat.kind, splat.text])).toEqual([
      [kind, line],
      [kind, line],
    ])
  })

  test('kmemleak objects end with the prefix', () => {
    const text =
      'kmemleak: unreferenced object 0xff11000001 (size 192):\nkmemleak:   comm "gmem-t7", pid 42, jiffies 4294\nkmemleak:   backtrace (crc 0):\nkmemleak:     plant_slab_leak+0x1/0x2\nother: line'
    expect(found(text)).toMatchObject([{ kind: 'kmemleak', text: text.replace('\nother: line', '') }])
  })

  test.each([
    'WARNING: CPU: 1 PID: 42 at arch/x86/kvm/mmu/mmu.c:3308 kvm_mmu_max_mapping_level+0x12/0x40 [kvm]',
    'WARNING: arch/x86/kvm/mmu/mmu.c:3308 at kvm_mmu_max_mapping_level+0x12/0x40 [kvm], CPU#1: gmem-t7/42',
  ])('a WARN of kernels before and since 6.18: %s', (header) => {
    const text = `------------[ cut here ]------------\n${header}\nRIP: 0010:kvm_mmu_max_mapping_level+0x12/0x40 [kvm]\n${stackDump('recover_huge_pages_range')}\n---[ end trace 0 ]---`
    expect(found(text)).toMatchObject([
      {
        title: 'WARNING: arch/x86/kvm/mmu/mmu.c:3308 at kvm_mmu_max_mapping_level',
        fileLine: 'arch/x86/kvm/mmu/mmu.c:3308',
        fingerprint: 'WARN:kvm_mmu_max_mapping_level:recover_huge_pages_range',
        task: { comm: 'gmem-t7', pid: 42 },
        cpu: 1,
      },
    ])
  })
})
