// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Sandbox, until } from './support/run-gmem.js'

let box: Sandbox
let tree: string

beforeAll(async () => {
  box = await Sandbox.create()
  tree = join(box.path, 'linux')
  mkdirSync(join(tree, 'virt/kvm'), { recursive: true })
  // As much of a kernel as it takes to be one, and not to build.
  writeFileSync(join(tree, 'Makefile'), 'VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 0\n')
  writeFileSync(join(tree, 'Kconfig'), '')
  writeFileSync(join(tree, 'virt/kvm/guest_memfd.c'), '')
})
afterAll(async () => await box.remove())
afterEach(async () => expect(await box.leftovers()).toEqual([]))

test('gmem watch says why a tree does not build, and tries again when one of its files is saved', async () => {
  const gmem = box.start(['watch', '--tree', tree, 'vm-types'])
  const prints = async (text: RegExp) => await until(String(text), () => text.exec(gmem.printed()))

  await prints(/as it was found: .* did not build:[\s\S]*waiting for a file to be saved/)
  writeFileSync(join(tree, 'virt/kvm/notes.txt'), 'no source')
  writeFileSync(join(tree, 'virt/kvm/guest_memfd.c'), 'int changed;')
  await prints(/\nvirt\/kvm\/guest_memfd\.c: .* did not build:[\s\S]*waiting for a file to be saved/)
  gmem.kill('SIGINT')

  const { exitCode, stdout } = await gmem.ended
  expect(exitCode).toBe(130)
  expect(stdout.match(/did not build/g)).toHaveLength(2)
})

test('gmem watch of what is no kernel tree is a usage error', async () => {
  const { exitCode, stderr } = await box.run(['watch', '--tree', join(box.path, 'nowhere')])

  expect(stderr).toContain(join(box.path, 'nowhere'))
  expect(exitCode).toBe(2)
})
