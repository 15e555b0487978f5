// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { tcgAccelerator } from '../../src/qemu/accelerator.js'
import { kernelCommandLine, type MachineArguments, qemuArguments } from '../../src/qemu/arguments.js'
import { parseQemuVersion } from '../../src/qemu/binary.js'
import { classifyExit, type MachineExit } from '../../src/qemu/exit.js'
import { formatInitConfig, type InitConfig } from '../../src/qemu/init-config.js'
import { parseInterpreter, parseLibraryList } from '../../src/qemu/libraries.js'
import { isNeeded } from '../../src/qemu/packages.js'
import { isLeftover, selectOld } from '../../src/qemu/sweep.js'
import { parseTrial } from '../../src/qemu/trial.js'
import { gib } from '../../src/units.js'

const machine: MachineArguments = {
  bzImage: '/k/bzImage',
  initrd: '/c/initramfs.cpio',
  append: kernelCommandLine(),
  accelerator: tcgAccelerator('test'),
  memory: gib(1),
  cpus: 2,
  consoleFile: '/r/console.log',
}

describe("QEMU's arguments", () => {
  test('a restored VM differs from the one that was saved in RAM file, initrd, console and -incoming alone', () => {
    const saved = qemuArguments({ ...machine, ramFile: { path: '/c/ram', share: true } })
    const restored = qemuArguments({
      ...machine,
      initrd: '/c/empty',
      consoleFile: '/r/2.log',
      ramFile: { path: '/c/ram', share: false },
      incoming: true,
    })
    const changed = restored.filter((argument) => !saved.includes(argument))
    expect(changed).toEqual([
      'memory-backend-file,id=ram,size=1073741824,mem-path=/c/ram,share=off',
      'file,id=console,path=/r/2.log,append=on',
      '/c/empty',
      '-incoming',
      'defer',
    ])
  })

  test('a card with memory is there where QEMU has one, and is saved with the VM', () => {
    expect(qemuArguments(machine).join(' ')).not.toContain('ivshmem')
    expect(qemuArguments({ ...machine, memoryCard: true })).toContain('ivshmem-plain,memdev=card,master=on')
  })

  test('a comma in a path is doubled', () => {
    expect(qemuArguments({ ...machine, consoleFile: '/r/a,b' })).toContain(
      'file,id=console,path=/r/a,,b,append=on',
    )
  })

  test('a panic ends QEMU: the kernel reboots at once, and -no-reboot turns that into an end', () => {
    expect(machine.append.split(' ')).toContain('panic=-1')
    expect(qemuArguments(machine)).toContain('-no-reboot')
  })

  test("the user's kernel parameters come last, so that they win", () => {
    expect(kernelCommandLine('loglevel=8')).toMatch(/ loglevel=8$/)
  })
})

describe('how a VM ended', () => {
  const facts = { exitCode: 0, signal: null, byUs: false, qmpEvents: [], stderrTail: '' }
  const shutdown = (guest: boolean, reason: string): Pick<MachineExit, 'qmpEvents'> => ({
    qmpEvents: [{ event: 'SHUTDOWN', data: { guest, reason } }],
  })
  const panic = '[ 1.0] Kernel panic - not syncing: sysrq triggered crash\r\n'

  test.each<[string, MachineExit['reason'], Omit<MachineExit, 'reason'>, string]>([
    ['a power-off', 'shutdown', { ...facts, ...shutdown(true, 'guest-shutdown') }, ''],
    ['a reset after a panic', 'panic', { ...facts, ...shutdown(true, 'guest-reset') }, panic],
    ['a reset without one', 'reset', { ...facts, ...shutdown(true, 'guest-reset') }, 'fine\r\n'],
    ['a SIGKILL', 'killed', { ...facts, exitCode: null, signal: 'SIGKILL' }, ''],
    ['a SIGTERM, which QEMU handles', 'killed', { ...facts, ...shutdown(false, 'host-signal') }, ''],
    ['a bad argument', 'error', { ...facts, exitCode: 1, stderrTail: 'no such device' }, ''],
  ])('%s is "%s"', (_what, reason, given, console) => {
    expect(classifyExit(given, console).reason).toBe(reason)
  })

  test('a panic that was killed before it rebooted is a kill: the kernel had not ended', () => {
    expect(classifyExit({ ...facts, exitCode: null, signal: 'SIGKILL', byUs: true }, panic).reason).toBe(
      'killed',
    )
  })
})

describe("init's configuration", () => {
  const config: InitConfig = {
    modules: [
      { path: '/lib/modules/7.3.4/kvm.ko', parameters: '', processor: null },
      { path: '/lib/modules/7.3.4/kvm-amd.ko', parameters: 'nested=1', processor: 'amd' },
    ],
    sysctls: { '/proc/sys/vm/nr_hugepages': '8' },
    env: { HOME: '/root' },
    ports: { GMEM_OUT_PORT: 'gmem.from-guest' },
    cpu: 0,
    cwd: '/work',
    command: ['/usr/bin/node', '--no-warnings', '/work/a b.js'],
  }

  test('is one item a line, modules first, arguments in order', () => {
    expect(formatInitConfig(config).split('\n')).toEqual([
      'module /lib/modules/7.3.4/kvm.ko',
      'amd-module /lib/modules/7.3.4/kvm-amd.ko nested=1',
      'sysctl /proc/sys/vm/nr_hugepages 8',
      'env HOME=/root',
      'port GMEM_OUT_PORT=gmem.from-guest',
      'cpu 0',
      'cwd /work',
      'arg /usr/bin/node',
      'arg --no-warnings',
      'arg /work/a b.js',
      '',
    ])
  })

  test('a value that would start a line of its own is refused', () => {
    expect(() => formatInitConfig({ ...config, env: { A: 'x\narg /bin/sh' } })).toThrow(TypeError)
  })
})

describe('shared libraries', () => {
  test('the list holds files alone: no vDSO, each with its target', () => {
    const output = [
      '\tlinux-vdso.so.1 (0x00007fb288bb3000)',
      '\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fb28861e000)',
      '\t/lib64/ld-linux-x86-64.so.2 (0x00007fb288bb5000)',
    ].join('\n')
    expect(parseLibraryList('node', output)).toEqual([
      '/lib/x86_64-linux-gnu/libc.so.6',
      '/lib64/ld-linux-x86-64.so.2',
    ])
  })

  test('a missing library is an error that names it', () => {
    expect(() => parseLibraryList('/x/gmem.node', '\tlibfoo.so.1 => not found')).toThrow(/libfoo\.so\.1/)
  })

  test('a file that is no ELF has no interpreter', () => {
    expect(parseInterpreter(Buffer.alloc(4096))).toBeNull()
  })
})

describe('what is packed of an npm package', () => {
  test.each(['dist/index.js', 'package.json', 'dist/x.mjs', 'a.cjs', 'lib/b.node', 'dist/nested/x.json'])(
    '%s goes in',
    (path) => expect(isNeeded(path)).toBe(true),
  )

  test.each([
    'dist/index.d.ts',
    'dist/index.d.mts',
    'dist/index.js.map',
    'README.md',
    'LICENSE',
    'src/index.ts',
    'node_modules/other/index.js',
  ])('%s stays out', (path) => expect(isNeeded(path)).toBe(false))
})

describe('the cache', () => {
  const entries = [
    { name: 'old', usedMs: 1 },
    { name: 'newest', usedMs: 30 },
    { name: 'middle', usedMs: 20 },
  ]

  test('drops all but the most recently used', () => {
    expect(selectOld(entries, 2, 0)).toEqual(['old'])
  })

  test('drops what nobody used for too long, however few there are', () => {
    expect(selectOld(entries, 10, 25).sort()).toEqual(['middle', 'old'])
  })

  test('tells what a dead process left from what a live one is writing', () => {
    expect(isLeftover(`key.${process.pid}.partial`)).toBe(false)
    // Above the largest pid_max (2^22).
    expect(isLeftover('key.4194305.partial')).toBe(true)
    expect(isLeftover('key.cpio')).toBe(false)
  })
})

describe('the trial of nested virtualization', () => {
  test('works only where a VM ran', () => {
    expect(
      parseTrial('[ 1.2] x\r\ngmem-trial: ok\r\ngmem-init: worker exited with status 0\r\n').outcome,
    ).toBe('works')
  })

  test('a refusal carries the step and the errno', () => {
    expect(parseTrial('gmem-trial: failed: open /dev/kvm: ENOENT\r\n')).toEqual({
      outcome: 'refused',
      details: 'in a VM, open /dev/kvm: ENOENT',
    })
  })

  test('a VM that never got there proves nothing', () => {
    expect(parseTrial('[ 1.2] Kernel panic - not syncing: x\r\n').outcome).toBe('unclear')
    expect(parseTrial('').outcome).toBe('unclear')
  })
})

test("QEMU's version is the whole first line", () => {
  const output = 'QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright (c) 2003-2022'
  expect(parseQemuVersion(output)).toBe('7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)')
})
