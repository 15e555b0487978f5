// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { detectSplats, SplatDetector } from '../../src/splats/detect.js'
import { consoleLines, logLines, recording, said, stackDump } from './splats-samples.js'

const CUT = '------------[ cut here ]------------'
const WARN = 'WARNING: virt/kvm/guest_memfd.c:77 at kvm_gmem_fallocate+0x3c/0x1d0 [kvm], CPU#1: gmem-t7/42'
const report = `${CUT}\n${WARN}\nRIP: 0010:kvm_gmem_fallocate+0x3c/0x1d0 [kvm]\n${stackDump('vfs_fallocate')}\n---[ end trace 0000000000000000 ]---`

describe('ordinary messages', () => {
  test.each([
    'node (51) uses deprecated thing; WARNING: this is fine',
    "warning: `node' uses wireless extensions which will stop working",
    'WARNING: kernel not compiled with MITIGATION_SRSO.',
    "WARNING: BIOS bug: CPU MTRRs don't cover all of memory, losing 4MB of RAM.",
    'WARNING: Flushing system-wide workqueues will be prohibited in near future.',
    'ACPI BIOS Warning (bug): Incorrect checksum in table',
    "[Firmware Bug]: TSC doesn't count with P0 frequency!",
    'DEBUG: lock debugging is on',
    'kvm: a BUG: in the middle of a line',
    'gmem-t7[51]: segfault at 8 ip 0000000000401a67 sp 00007fffa81349e0 error 6 in init[1a67,401000+96000]',
    'traps: node[51] general protection fault ip:7f sp:7f error:0 in libc.so.6[26000+155000]',
    'traps: node[51] trap invalid opcode ip:401000 sp:7ffc error:0 in a.out[401000+1000]',
    'Memory failure: 0x1234: recovery action for dirty LRU page: Recovered',
    'INFO: NMI handler (perf_event_nmi_handler) took too long to run: 1.234 msecs',
    'INFO: lockdep is turned off.',
    'rcu: Hierarchical RCU implementation.',
    'rcu: INFO: Stall ended before state dump start',
    'Warning: unable to open an initial console.',
    'EXT4-fs WARNING (device vda): ext4_dirblock_csum_verify: run e2fsck -D.',
    'sched: RT throttling activated',
    'Oops, no',
    'watchdog: Delayed init of the lockup detector failed',
    'kmemleak: Kernel memory leak detector initialized (mem pool available: 15679)',
    'list_lru: registered',
    'workqueue: kvm_gmem_work hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND',
  ])('%s', (line) => {
    expect(detectSplats(said([line, 'and another line', 'and one more', '', 'the end']))).toEqual([])
  })

  test('what a program writes into the log is not the kernel, whatever it says', () => {
    expect(detectSplats(said(report).map((line) => ({ ...line, facility: 1 })))).toEqual([])
  })

  test('what a program writes onto the console is not the kernel', () => {
    expect(detectSplats(consoleLines(report))).toEqual([])
  })

  test('a line of equals signs alone is no report', () => {
    expect(
      detectSplats(said(['='.repeat(60), 'a table', 'with rows', 'and rows', 'and rows', '='.repeat(60)])),
    ).toEqual([])
  })

  test('backtraces that somebody asked for with sysrq are no report', () => {
    const text = `sysrq: Show backtrace of all active CPUs\nNMI backtrace for cpu 1\n${stackDump('nmi_cpu_backtrace', 'default_idle')}`
    expect(detectSplats(said(text))).toEqual([])
  })
})

describe('a fingerprint', () => {
  test('does not depend on addresses, offsets, pids or CPUs', () => {
    const other = report
      .replaceAll('+0x3c/0x1d0', '+0x4f/0x1f8')
      .replaceAll('CPU#1', 'CPU#0')
      .replaceAll('gmem-t7/42', 'gmem-t99/977')
      .replaceAll('vfs_fallocate+0x10/0x20', 'vfs_fallocate+0x77/0x99')
    const [first] = detectSplats(said(report))
    const [second] = detectSplats(said(other))
    expect(second?.fingerprint).toBe(first?.fingerprint)
    expect(second?.title).toBe(first?.title)
  })

  test('does not depend on how the compiler split a function', () => {
    const split = report.replaceAll('vfs_fallocate+', 'vfs_fallocate.part.0.isra.0+')
    expect(detectSplats(said(split))[0]?.fingerprint).toBe(detectSplats(said(report))[0]?.fingerprint)
  })

  test('tells different callers apart', () => {
    const other = report.replaceAll('vfs_fallocate', 'madvise_remove')
    expect(detectSplats(said(other))[0]?.fingerprint).not.toBe(detectSplats(said(report))[0]?.fingerprint)
  })

  test('in an interrupt ends where the interrupted code begins', () => {
    const inInterrupt = (interrupted: string) =>
      `${CUT}\n${WARN}\nRIP: 0010:kvm_gmem_fallocate+0x3c/0x1d0 [kvm]\nCall Trace:\n <IRQ>\n some_timer+0x1/0x2\n </IRQ>\n <TASK>\n asm_sysvec_apic_timer_interrupt+0x16/0x20\nRIP: 0010:${interrupted}+0x1/0x2\n </TASK>\n---[ end trace 0 ]---`
    const [one] = detectSplats(said(inInterrupt('default_thing')))
    expect(one?.fingerprint).toBe('WARN:kvm_gmem_fallocate:some_timer')
    expect(detectSplats(said(inInterrupt('other_thing')))[0]?.fingerprint).toBe(one?.fingerprint)
  })
})

describe('the detector', () => {
  test('gives a report out when it is complete, not before', () => {
    const detector = new SplatDetector()
    const lines = said(report)
    for (const line of lines.slice(0, -1)) detector.push(line)
    expect(detector.take()).toEqual([])
    expect(detector.busy).toBe(true)
    for (const line of lines.slice(-1)) detector.push(line)
    expect(detector.busy).toBe(false)
    expect(detector.take()).toHaveLength(1)
    expect(detector.take()).toEqual([])
  })

  test('gives what there is of a report that breaks off, even right after "cut here"', () => {
    expect(detectSplats(said(report.split('\n').slice(0, 2)))).toMatchObject([
      { kind: 'WARN', function: 'kvm_gmem_fallocate' },
    ])
    expect(detectSplats(said([CUT]))).toMatchObject([{ kind: 'WARN' }])
  })

  test('starts a new report where the same caller cuts again', () => {
    expect(detectSplats(said(`${report}\n${report}`))).toHaveLength(2)
  })

  test('does not wait for an end mark after a stack trace that has none', () => {
    const detector = new SplatDetector()
    for (const line of said(
      `BUG: scheduling while atomic: gmem-t7/42/0x00000002\n${stackDump('msleep', 'kvm_x')}`,
    ))
      detector.push(line)
    expect(detector.busy).toBe(false)
    expect(detector.flush()).toHaveLength(1)
  })

  test('ends a report without stack where its caller goes on after a pause', () => {
    const lines = [
      ...said(['BUG: something without a stack']),
      ...said(['an ordinary line']).map((line) => ({ ...line, timeUs: line.timeUs + 4_000_000 })),
    ]
    expect(detectSplats(lines)).toMatchObject([{ kind: 'BUG', text: 'BUG: something without a stack' }])
  })

  test('takes a continuation as part of the report and never as a start', () => {
    const cont = { ...said([' stuck for 2s!'])[0], continued: true }
    const lines = [...said(['BUG: workqueue lockup - pool']), cont].filter((line) => line.text !== undefined)
    expect(detectSplats(lines as ReturnType<typeof said>)).toMatchObject([
      { kind: 'workqueue', text: 'BUG: workqueue lockup - pool\n stuck for 2s!' },
    ])
    expect(detectSplats(said([WARN]).map((line) => ({ ...line, continued: true })))).toEqual([])
  })

  test('a panic of its own right after a report is a second report', () => {
    const splats = detectSplats(
      said(
        `${report}\nKernel panic - not syncing: gmem_plant: a planted panic\n${stackDump('vpanic', 'panic', 'plant_panic')}`,
      ),
    )
    expect(splats.map((splat) => [splat.kind, splat.fatal])).toEqual([
      ['WARN', false],
      ['panic', true],
    ])
  })

  test('keeps a runaway report small', () => {
    const lines = Array.from({ length: 200_000 }, (_, index) => ({
      ...(said(['BUG: kernel NULL pointer dereference, address: 0000000000000000'])[0] as ReturnType<
        typeof said
      >[number]),
      seq: index,
    }))
    const [splat, ...more] = detectSplats(lines)
    expect(more).toEqual([])
    expect(splat?.text.split('\n').length).toBeLessThan(2000)
    expect(splat?.text).toMatch(/… \d+ more lines$/)
    expect(splat?.lastSeq).toBe(199_999)
  })

  test('finds the same on the console as in /dev/kmsg', () => {
    const kmsg = detectSplats(logLines('hung-task.kmsg'))
    const asConsole = recording('hung-task.kmsg')
      .split('\n')
      .map((line) => /^\d+,\d+,(\d+)(\d{6}),-,caller=(\w+);(.*)$/.exec(line))
      .map((match) => (match === null ? '' : `[    ${match[1]}.${match[2]}][ ${match[3]}] ${match[4]}`))
    expect(detectSplats(consoleLines(asConsole.join('\n'))).map((splat) => splat.title)).toEqual(
      kmsg.map((splat) => splat.title),
    )
  })
})
