// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { detectSplats, foldSplats } from '../../src/splats/detect.js'
import type { Splat } from '../../src/splats/types.js'
import { logLines } from './splats-samples.js'

const found = (name: string) => detectSplats(logLines(name))
const kinds = (splats: readonly Splat[]) => splats.map((splat) => splat.kind)

/** The syscall that every plant comes through. */
const SYSCALL = 'plant_write:full_proxy_write:vfs_write:ksys_write'

describe('recorded on 7.3.4', () => {
  test('warnings, corruption, saturation, sleeping in atomic and a wrong counter are found, in order', () => {
    expect(kinds(found('warnings.kmsg'))).toEqual([
      'WARN',
      'WARN',
      'list-corruption',
      'refcount',
      'atomic-sleep',
      'bad-page',
    ])
  })

  test('a WARN gives message, place, task, CPU and the whole report', () => {
    const [warn] = found('warnings.kmsg')
    expect(warn).toMatchObject({
      kind: 'WARN',
      title: 'WARNING: gmem_plant.c:38 at plant_warn: gmem_plant: a planted warning',
      fingerprint: `WARN:plant_warn:${SYSCALL}`,
      task: { comm: 'gmem-t7', pid: 42 },
      cpu: 1,
      function: 'plant_warn',
      fileLine: 'gmem_plant.c:38',
      count: 1,
      fatal: false,
    })
    expect(warn?.text).toMatch(/^-+\[ cut here \]-+\n/)
    expect(warn?.text).toMatch(/\n---\[ end trace 0000000000000000 \]---$/)
    expect(warn?.text).toContain('RIP: 0010:plant_warn+0x7/0x10 [gmem_plant]')
  })

  test('a WARN in another task names that task', () => {
    expect(found('warnings.kmsg')[1]).toMatchObject({
      kind: 'WARN',
      task: { comm: 'gmem_plant_warn', pid: 47 },
    })
  })

  test.each([
    [2, 'list_del corruption in plant_list_corruption', 'lib/list_debug.c:62'],
    [3, 'refcount_t: saturated; leaking memory in plant_refcount_overflow', 'lib/refcount.c:22'],
    [4, 'BUG: scheduling while atomic in plant_sleep_in_atomic', null],
    [5, 'BUG: Bad rss-counter state MM_ANONPAGES', null],
  ])('report %i has the title %j', (index, title, fileLine) => {
    expect(found('warnings.kmsg')[index]).toMatchObject({ title, fileLine })
  })

  test('BUG, null dereference and GPF are found, each with the registers of the first oops behind it', () => {
    const splats = found('faults.console')
    expect(splats.map((splat) => splat.title)).toEqual([
      'kernel BUG at gmem_plant.c:80 in plant_bug',
      'BUG: kernel NULL pointer dereference in plant_null_deref',
      'BUG: unable to handle page fault in plant_page_fault',
      'Oops: general protection fault in plant_gpf',
    ])
    expect(splats[1]?.text.split('RIP: 0010:plant_bug')).toHaveLength(2)
    expect(splats[1]).toMatchObject({ function: 'plant_null_deref', fatal: false })
  })

  test('a soft lockup is what the CPU was stuck in, and the CPU that waited for it is another', () => {
    expect(found('soft-lockup.console')).toMatchObject([
      { kind: 'soft-lockup', function: 'plant_soft_lockup', task: { comm: 'gmem-t7', pid: 40 }, cpu: 1 },
      { kind: 'soft-lockup', function: 'multi_cpu_stop', task: { comm: 'migration/0', pid: 17 }, cpu: 0 },
    ])
  })

  test('an RCU stall names the task that blocks, from a stack of guesses', () => {
    expect(found('rcu-stall.console')).toMatchObject([
      { kind: 'RCU-stall', function: 'plant_rcu_stall', task: { comm: 'gmem-t7', pid: 40 } },
    ])
  })

  test('a workqueue lockup of two pools is one report about what hogs the CPU', () => {
    expect(found('workqueue.console')).toMatchObject([
      {
        kind: 'workqueue',
        title: 'BUG: workqueue lockup in plant_soft_lockup',
        task: { comm: 'kworker/0:0H' },
      },
    ])
  })

  test('a hung task is the one that hangs, not the watchdog, and the same one is counted', () => {
    const splats = found('hung-task.kmsg')
    expect(splats).toHaveLength(2)
    expect(foldSplats(splats)).toMatchObject([
      {
        kind: 'hung-task',
        title: 'INFO: task gmem-t7 hung in plant_hung_task',
        task: { comm: 'gmem-t7', pid: 41 },
        count: 2,
      },
    ])
  })

  test('an OOM kill is reported with its victim and is no splat', () => {
    expect(found('oom.console')).toMatchObject([{ kind: 'OOM', task: { comm: 'gmem-t7', pid: 42 } }])
  })

  test('slab corruption is one report, from the redzone line to the WARN in it', () => {
    const splats = found('slab.kmsg')
    expect(splats).toMatchObject([
      { kind: 'slab', title: 'BUG kmalloc-64: Object corrupt in plant_slab_overflow' },
    ])
    expect(splats[0]?.text).toMatch(/^\[Right Redzone overwritten\]/)
    expect(splats[0]?.text).toMatch(/FIX kmalloc-64: Object at \S+ not freed$/)
  })

  test('a panic is found without an end mark', () => {
    expect(found('panic.console')).toMatchObject([
      {
        kind: 'panic',
        title: 'Kernel panic: gmem_plant: a planted panic',
        fatal: true,
        function: 'plant_panic',
      },
    ])
  })

  test('a panic because of a WARN or an oops belongs to it', () => {
    expect(found('panic-on-warn.console')).toMatchObject([
      { kind: 'WARN', fatal: true, function: 'plant_warn' },
    ])
    expect(found('oops-panic.console')).toMatchObject([
      { kind: 'Oops', fatal: true, function: 'plant_null_deref' },
    ])
  })

  test('an oops that oopses for ever is one report', () => {
    expect(found('runaway.console')).toMatchObject([
      { kind: 'Oops', title: 'BUG: kernel NULL pointer dereference' },
    ])
  })

  test('a boot and a segfault of a program give nothing', () => {
    expect(found('boot.console')).toEqual([])
  })
})

describe('reports of two CPUs at once', () => {
  const splats = found('interleaved.kmsg')

  test('are told apart by their callers', () => {
    expect(splats.map((splat) => [splat.kind, splat.task?.pid])).toEqual([
      ['WARN', 45],
      ['WARN', 46],
      ['WARN', 48],
      ['refcount', 49],
    ])
  })

  test('overlap in the log and hold no line of each other', () => {
    const [first, second] = splats
    expect(second?.firstSeq).toBeLessThan(first?.lastSeq ?? 0)
    expect(first?.text).not.toContain('gmem-t7')
    expect(second?.text).not.toContain('gmem_plant_warn')
  })

  test('without callers are found as well, if not apart', () => {
    const lines = logLines('interleaved.kmsg').map((line) => ({ ...line, caller: '' }))
    expect(detectSplats(lines).length).toBeGreaterThanOrEqual(2)
  })
})
