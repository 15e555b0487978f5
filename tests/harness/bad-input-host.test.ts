// SPDX-License-Identifier: Apache-2.0
import { chmodSync, existsSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { canMount, Sandbox, skipFor } from './support/run-gmem.js'
import { builtImage } from './support/small-project.js'

let box: Sandbox
let image: string

beforeAll(async () => {
  image = await builtImage()
  box = await Sandbox.create()
})
afterAll(async () => await box.remove())
afterEach(async () => expect(await box.leftovers()).toEqual([]))

describe('without /dev/kvm', () => {
  /** The devices that gmem itself needs, and no others. */
  const script = [
    'mount -t tmpfs tmpfs /mnt',
    'for each in null zero full random urandom tty; do : > /mnt/$each; mount --bind /dev/$each /mnt/$each; done',
    'ln -s /proc/self/fd /mnt/fd',
    'mount --move /mnt /dev 2>/dev/null || mount --rbind /mnt /dev',
    'exec "$@"',
  ].join(' && ')
  const under = ['unshare', '-m', 'sh', '-c', script, 'sh']
  const noMount = 'needs to mount in a namespace of its own (unshare -m)'

  test.for(['test', 'probe'])('gmem %s --host says what to do', async (command, context) => {
    if (!(await canMount())) skipFor(noMount, context)

    const { exitCode, stderr } = await box.run([command, '--host'], { under })

    expect(stderr).toContain('error: there is no /dev/kvm on this machine')
    expect(stderr).toContain('hint: Load the module (modprobe kvm_amd, or kvm_intel)')
    expect(exitCode).toBe(69)
  })
})

test('a /dev/kvm that is none is seen by what it answers', async (context) => {
  if (!existsSync('/dev/kvm')) skipFor('needs a /dev/kvm to put something else in place of', context)
  if (!(await canMount())) skipFor('needs to mount in a namespace of its own (unshare -m)', context)
  const under = ['unshare', '-m', 'sh', '-c', 'mount --bind /dev/null /dev/kvm && exec "$@"', 'sh']

  const { exitCode, stdout, lastLine } = await box.run(['test', '--host', 'conversion'], { under })

  expect(stdout).toContain('needs /dev/kvm: what is there is no KVM device (ENOTTY)')
  expect(lastLine).toMatch(/^0 passed, 0 failed, \d+ skipped$/)
  expect(exitCode).toBe(4)
})

describe('QEMU', () => {
  test('that is not in PATH: what to install', async () => {
    const path = await pathWithoutQemu()

    const { exitCode, stdout, stderr } = await box.run(['test', '-k', image], { env: { PATH: path } })

    expect(stderr).toContain('error: no qemu-system-x86_64 in PATH: apt-get install qemu-system-x86')
    expect(stdout).toBe('')
    expect(exitCode).toBe(69)
  })

  test.each(['test', 'probe', 'shell'])('that GMEM_QEMU names wrongly: gmem %s', async (command) => {
    const env = { GMEM_QEMU: '/nowhere/qemu' }

    const { exitCode, stderr } = await box.run([command, '-k', image], { env })

    expect(stderr).toContain('error: GMEM_QEMU=/nowhere/qemu: no such program')
    expect(exitCode).toBe(69)
  })

  test('that is missing keeps no kernel from being built: gmem kernel build says that it saved no VM', async () => {
    const env = { GMEM_QEMU: '/nowhere/qemu' }

    const { exitCode, stdout, stderr } = await box.run(['kernel', 'build', image], { env })

    expect(stderr).toMatch(/no VM of \S+ was saved: GMEM_QEMU=\/nowhere\/qemu: no such program/)
    expect(stdout).toContain('ready')
    expect(exitCode).toBe(0)
  })

  test('that does not start: what it said', async () => {
    const qemu = join(box.path, 'broken-qemu')
    writeFileSync(
      qemu,
      '#!/bin/sh\n[ "$1" = --version ] && exec echo QEMU emulator version 7.2.0\necho broken >&2; exit 1\n',
    )
    chmodSync(qemu, 0o755)

    const { exitCode, stderr } = await box.run(['probe', '-k', image], { env: { GMEM_QEMU: qemu } })

    expect(stderr).toContain('error: QEMU did not start: broken')
    expect(exitCode).toBe(69)
  })
})

test('a cache that cannot be written to: what to do', async () => {
  const file = join(box.path, 'file')
  writeFileSync(file, '')

  const { exitCode, stderr } = await box.run(['test', '-k', image], {
    env: { GMEM_CACHE: join(file, 'cache') },
  })

  expect(stderr).toContain("error: cannot make the folder for this run's results: ")
  expect(stderr).toContain('hint: Free some space, or name another folder with -o DIR or GMEM_CACHE.')
  expect(exitCode).toBe(69)
})

/** A folder with links to all programs but QEMU. */
async function pathWithoutQemu(): Promise<string> {
  const folder = join(box.path, 'bin')
  await mkdir(folder)
  const folders = (process.env.PATH ?? '').split(':').filter((path) => path !== '' && existsSync(path))
  // As in PATH, the first one of a name is the one that counts.
  const programs = new Map(
    folders.reverse().flatMap((from) => readdirSync(from).map((name) => [name, join(from, name)] as const)),
  )
  for (const [name, path] of programs) {
    if (!name.startsWith('qemu')) symlinkSync(path, join(folder, name))
  }
  return folder
}
