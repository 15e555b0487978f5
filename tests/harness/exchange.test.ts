// SPDX-License-Identifier: Apache-2.0
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { resolveKernel } from '../../src/kernels/index.js'
import { Sandbox } from './support/run-gmem.js'

/** Nothing here builds a kernel. */
const BUILT = { build: false }
/** Booting, rehearsing and saving a VM, on a busy machine. */
const SAVING_MS_MAX = 180_000

// Two kernels that differ in KVM's modules alone: what the patch set changes is in virt/kvm and arch/x86/kvm.
let box: Sandbox
let base: string
let patched: string

beforeAll(async () => {
  base = (await resolveKernel('7.3', BUILT)).bzImage
  patched = (await resolveKernel('7.3+inplace-conversion', BUILT)).bzImage
  box = await Sandbox.create()
  await box.run(['test', 'creation-request', '-k', base])
}, SAVING_MS_MAX)
afterAll(async () => await box.remove())
afterEach(async () => expect(await box.leftovers()).toEqual([]))

const RELATED = 'its copies get this one’s KVM modules'

test('a kernel that has new KVM modules only runs in a VM that was saved with others', async () => {
  const { exitCode, stdout } = await box.run(['test', 'inplace-errors', '-k', patched, '--exchange-kvm'])

  expect(stdout).toContain(RELATED)
  expect(stdout).toContain('restored in')
  // The base kernel would skip them all.
  expect(stdout).toMatch(/\n\d\d passed, 0 failed, 0 skipped\n?$/)
  expect(exitCode).toBe(0)
})

test('with --cold such a VM is used, and none is saved where there is none', async () => {
  const related = await box.run(['test', 'inplace-offer', '-k', patched, '--exchange-kvm', '--cold'])
  const alone = await box.run([
    ...['test', 'inplace-offer', '-k', patched, '--exchange-kvm', '--cold'],
    '--append=no_console_suspend',
  ])

  expect(related.stdout).toContain(RELATED)
  expect(alone.stdout).not.toContain(RELATED)
  expect(alone.stdout).toContain('booted in')
  expect([related.exitCode, alone.exitCode]).toEqual([0, 0])
})

test('without being asked for, nothing is exchanged', async () => {
  const { exitCode, stdout } = await box.run(['test', 'inplace-offer', '-k', patched, '--cold'])

  expect(stdout).not.toContain(RELATED)
  expect(stdout).toContain('booted in')
  expect(exitCode).toBe(0)
})
