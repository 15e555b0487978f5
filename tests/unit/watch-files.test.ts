// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { SavedFiles, watchedFolders } from '../../src/cli/watch-files.js'

let tree: string
let seen: string[][]
let files: SavedFiles

beforeEach(() => {
  tree = mkdtempSync(join(tmpdir(), 'gmem-watch-'))
  mkdirSync(join(tree, 'arch/x86/kvm/mmu'), { recursive: true })
  mkdirSync(join(tree, 'virt/kvm'), { recursive: true })
  writeFileSync(join(tree, 'virt/kvm/guest_memfd.c'), '0')
  seen = []
  files = new SavedFiles(watchedFolders(tree, join(tree, 'tests')), tree, (names) => seen.push([...names]))
})
afterEach(() => {
  files.close()
  rmSync(tree, { recursive: true, force: true })
})

/** What was said since the last time. */
async function said(): Promise<string[][]> {
  await vi.waitFor(() => expect(seen).not.toEqual([]), { timeout: 5000 })
  return seen.splice(0)
}

/** As sed -i, git and most editors do it. */
function saveByRenaming(path: string, text: string): void {
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
}

test('a file that is saved by renaming another one over it is seen each time', async () => {
  for (const text of ['1', '2', '3']) {
    saveByRenaming(join(tree, 'virt/kvm/guest_memfd.c'), text)
    expect(await said()).toEqual([['virt/kvm/guest_memfd.c']])
  }
})

test('files that are saved together are said together, once', async () => {
  writeFileSync(join(tree, 'virt/kvm/guest_memfd.c'), '1')
  saveByRenaming(join(tree, 'arch/x86/kvm/mmu/mmu.c'), '1')
  writeFileSync(join(tree, 'virt/kvm/guest_memfd.c'), '2')

  expect(await said()).toEqual([['arch/x86/kvm/mmu/mmu.c', 'virt/kvm/guest_memfd.c']])
})

test('a folder that is new is watched, too', async () => {
  mkdirSync(join(tree, 'arch/x86/kvm/new/deep'), { recursive: true })
  await vi.waitFor(
    async () => {
      saveByRenaming(join(tree, 'arch/x86/kvm/new/deep/file.c'), String(Math.random()))
      await sleep(50)
      expect(seen).not.toEqual([])
    },
    { timeout: 5000, interval: 300 },
  )

  expect(await said()).toEqual([['arch/x86/kvm/new/deep/file.c']])
})

test('what is no source is not', async () => {
  writeFileSync(join(tree, 'virt/kvm/guest_memfd.o'), '')
  writeFileSync(join(tree, 'virt/kvm/Kconfig'), '')

  expect(await said()).toEqual([['virt/kvm/Kconfig']])
})
