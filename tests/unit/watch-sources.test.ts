// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { JudgedSources } from '../../src/cli/watch-sources.js'

const FILE = 'virt/kvm/guest_memfd.c'
const OTHER = 'arch/x86/kvm/mmu/mmu.c'

let tree: string
let sources: JudgedSources

/** A file with a function, and what that returns. */
function write(path: string, name: string, value: number): void {
  writeFileSync(join(tree, path), `static int ${name}(void)\n{\n\treturn ${value};\n}\n`)
}

beforeEach(() => {
  tree = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-sources-`))
  for (const folder of ['virt/kvm', 'arch/x86/kvm/mmu']) mkdirSync(join(tree, folder), { recursive: true })
  write(FILE, 'kvm_gmem_bind', 0)
  write(OTHER, 'kvm_tdp_page_fault', 0)
  sources = new JudgedSources(tree)
})
afterEach(() => rmSync(tree, { recursive: true, force: true }))

test('a function that was changed is named until there is a verdict on it', () => {
  write(FILE, 'kvm_gmem_bind', 1)
  sources.note([FILE])
  expect(sources.changes()).toEqual(new Map([[FILE, ['kvm_gmem_bind']]]))

  // Another save ended the run before it had a verdict.
  write(OTHER, 'kvm_tdp_page_fault', 1)
  sources.note([OTHER])
  expect(sources.changes()).toEqual(
    new Map([
      [FILE, ['kvm_gmem_bind']],
      [OTHER, ['kvm_tdp_page_fault']],
    ]),
  )

  sources.judged()
  write(FILE, 'kvm_gmem_bind', 2)
  sources.note([FILE])
  expect(sources.changes()).toEqual(new Map([[FILE, ['kvm_gmem_bind']]]))
})

test('what is saved while a run goes on is not part of its verdict', () => {
  sources.note([])
  write(FILE, 'kvm_gmem_bind', 1)
  sources.judged()

  sources.note([FILE])

  expect(sources.changes()).toEqual(new Map([[FILE, ['kvm_gmem_bind']]]))
})

test.each([
  ['a file of which functions are not known', 'arch/x86/kvm/svm/svm.c'],
  ['a header', 'include/linux/kvm_host.h'],
  ['a test', '/gmem/tests/kernel/mapping.test.ts'],
  ['a new file', 'virt/kvm/new.c'],
])('%s that is saved may change anything', (_, path) => {
  write(FILE, 'kvm_gmem_bind', 1)
  if (path.startsWith('virt')) write(path, 'kvm_new', 0)
  sources.note([FILE, path])

  expect(sources.changes()).toBeNull()
})

test('a file that is removed, or saved as it was, names no function', () => {
  sources.note([FILE])
  expect(sources.changes()).toBeNull()

  rmSync(join(tree, FILE))
  sources.note([FILE])
  expect(sources.changes()).toBeNull()
})
