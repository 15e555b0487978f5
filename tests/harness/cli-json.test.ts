// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, symlinkSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { hostProblem } from '../../src/cli/targets.js'
import { Sandbox, skipFor } from './support/run-gmem.js'
import { builtImage } from './support/small-project.js'

let box: Sandbox
let image: string

beforeAll(async () => {
  image = await builtImage()
  box = await Sandbox.create()
})
afterAll(async () => await box.remove())
afterEach(async () => expect(await box.leftovers()).toEqual([]))

test('gmem kernel list --json is empty where nothing is built', async () => {
  const { exitCode, stdout } = await box.run(['kernel', 'list', '--json'])

  expect(JSON.parse(stdout)).toEqual([])
  expect(exitCode).toBe(0)
})

test('gmem kernel list --json names each kernel, its release and its folder', async () => {
  const folder = join(box.cache, 'kernels', basename(dirname(image)))
  mkdirSync(dirname(folder), { recursive: true })
  symlinkSync(dirname(image), folder)

  const { exitCode, stdout } = await box.run(['kernel', 'list', '--json'])

  expect(JSON.parse(stdout)).toEqual([
    expect.objectContaining({ release: expect.stringMatching(/^\d+\.\d+/), path: folder, flavour: 'plain' }),
  ])
  expect(exitCode).toBe(0)
})

test('gmem doctor --json gives every check with its state, and a fix for what is missing', async () => {
  const { exitCode, stdout } = await box.run(['doctor', '--json'], { env: { GMEM_QEMU: '/nowhere' } })

  const { usable, checks } = JSON.parse(stdout)
  expect(usable).toBe(false)
  expect(checks).toContainEqual(expect.objectContaining({ name: 'Node', state: 'ok' }))
  expect(checks).toContainEqual({
    name: 'QEMU',
    state: 'missing',
    detail: expect.stringContaining('/nowhere'),
    fix: expect.stringContaining('qemu-system'),
  })
  expect(exitCode).toBe(69)
})

test('gmem probe --host --json gives release, capabilities and VM types', async (context) => {
  const problem = hostProblem()
  if (problem !== null) skipFor(`needs /dev/kvm on the host: ${problem.message}`, context)

  const { exitCode, stdout } = await box.run(['probe', '--host', '--json'])

  expect(JSON.parse(stdout)).toMatchObject({ kvmError: '', apiVersion: 12, vmTypes: expect.any(Array) })
  expect(exitCode).toBe(0)
})
