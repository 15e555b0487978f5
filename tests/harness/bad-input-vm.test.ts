// SPDX-License-Identifier: Apache-2.0
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { canMount, skipFor } from './support/run-gmem.js'
import { setUpSmallProject } from './support/small-project.js'

const small = setUpSmallProject()

test('a kernel without KVM boots, and every test is skipped for the want of /dev/kvm', async () => {
  const lonely = join(small.box.path, 'bzImage')
  copyFileSync(small.image, lonely)

  const { exitCode, stdout, stderr, lastLine } = await small.box.run([
    'test',
    '--cold',
    'passes',
    '-k',
    lonely,
  ])

  expect(stderr).toMatch(/bzImage: no modules of 7\.\S+ beside it, so the VM has only what is built in/)
  expect(stdout).toContain('1 skipped: needs /dev/kvm: opening it fails with ENOENT')
  expect(lastLine).toBe('0 passed, 0 failed, 1 skipped')
  expect(exitCode).toBe(4)
})

test('a disk without space for a saved VM makes gmem boot one for each file, and say so', async (context) => {
  if (!(await canMount())) skipFor('needs to mount a tmpfs in a namespace of its own (unshare -m)', context)
  const disk = join(small.box.path, 'disk')
  mkdirSync(disk)
  const under = ['unshare', '-m', 'sh', '-c', `mount -t tmpfs -o size=400m tmpfs ${disk} && exec "$@"`, 'sh']
  const args = ['test', 'passes', '-k', small.image]

  const { exitCode, stdout, lastLine } = await small.box.run(args, { under, env: { GMEM_CACHE: disk } })

  expect(stdout).toMatch(/no space for a saved VM in \S+: .* \(ENOSPC\); every test file boots its own VM/)
  expect(lastLine).toBe('1 passed, 0 failed, 0 skipped')
  expect(exitCode).toBe(0)
})

test('a disk that cannot even hold the initramfs is an error that says so', async (context) => {
  if (!(await canMount())) skipFor('needs to mount a tmpfs in a namespace of its own (unshare -m)', context)
  const disk = join(small.box.path, 'small-disk')
  mkdirSync(disk)
  const under = ['unshare', '-m', 'sh', '-c', `mount -t tmpfs -o size=16m tmpfs ${disk} && exec "$@"`, 'sh']
  const args = ['test', 'passes', '-k', small.image]

  const { exitCode, stdout } = await small.box.run(args, { under, env: { GMEM_CACHE: disk } })

  expect(stdout).toContain('the initramfs was not written: no space left on the disk of the cache')
  expect(exitCode).toBe(69)
})

test('a disk on which not even the results fit does not hide what happened', async (context) => {
  if (!(await canMount())) skipFor('needs to mount a tmpfs in a namespace of its own (unshare -m)', context)
  const disk = join(small.box.path, 'tiny-disk')
  mkdirSync(disk)
  const under = ['unshare', '-m', 'sh', '-c', `mount -t tmpfs -o size=16k tmpfs ${disk} && exec "$@"`, 'sh']
  const args = ['test', 'passes', '-k', small.image]

  const { exitCode, stdout, stderr } = await small.box.run(args, { under, env: { GMEM_CACHE: disk } })

  expect(stdout + stderr).toContain('ENOSPC')
  expect(stdout + stderr).not.toContain('Unhandled')
  expect(exitCode).toBe(69)
})
