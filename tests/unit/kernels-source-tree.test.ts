// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { listSourceTree } from '../../src/kernels/source-tree.js'

// git is run several times; on a busy machine that takes seconds.
vi.setConfig({ testTimeout: 30_000 })

let tree: string

beforeEach(() => {
  tree = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-tree-`))
  mkdirSync(join(tree, 'mm'))
  put('Makefile', 'all:\n')
  put('mm/memory.c', 'int x;\n')
  put('mm/memory.o', 'object')
  put('.gitignore', '*.o\n')
})

afterEach(() => rmSync(tree, { recursive: true, force: true }))

const put = (path: string, content: string): void => writeFileSync(join(tree, path), content)
const identity = async (): Promise<string> => (await listSourceTree(tree)).identity

function git(...args: string[]): void {
  const who = ['-c', 'user.name=gmem', '-c', 'user.email=gmem@localhost']
  execFileSync('git', ['-C', tree, ...who, ...args], { stdio: 'ignore' })
}

describe('a git tree', () => {
  beforeEach(() => {
    git('init')
    git('add', '-A')
    git('commit', '-m', 'all')
  })

  test('lists tracked and new files, but no build output', async () => {
    put('mm/new.c', '')

    expect([...(await listSourceTree(tree)).files].sort()).toEqual([
      '.gitignore',
      'Makefile',
      'mm/memory.c',
      'mm/new.c',
    ])
  })

  test('keeps its identity when a file is only touched, or built', async () => {
    const before = await identity()
    utimesSync(join(tree, 'mm/memory.c'), new Date(0), new Date(0))
    put('mm/memory.o', 'another object')

    expect(await identity()).toBe(before)
  })

  test.each([
    ['a tracked file is edited', () => put('mm/memory.c', 'int y;\n')],
    ['a file is added', () => put('mm/new.c', '')],
    ['a file is removed', () => rmSync(join(tree, 'mm/memory.c'))],
  ])('changes its identity when %s', async (_, change) => {
    const before = await identity()
    change()

    expect(await identity()).not.toBe(before)
  })

  test('has another identity for each content of an edited file', async () => {
    put('mm/memory.c', 'int y;\n')
    const dirty = await identity()
    put('mm/memory.c', 'int z;\n')

    expect(await identity()).not.toBe(dirty)
  })

  test('is not written to', async () => {
    const before = readdirSync(join(tree, '.git')).sort()
    await identity()

    expect(readdirSync(join(tree, '.git')).sort()).toEqual(before)
  })

  test('is refused when nothing of it counts as source', async () => {
    git('rm', '-r', '--cached', '.')
    put('.gitignore', '*\n')

    await expect(listSourceTree(tree)).rejects.toThrow(/git counts none of it as source/)
  })
})

describe('a tree without git', () => {
  test('lists source, but no build output', async () => {
    put('vmlinux', '')

    expect([...(await listSourceTree(tree)).files].sort()).toEqual(['Makefile', 'mm/memory.c'])
  })

  test("lists the files of Debian's source, whose .gitignore excludes the whole top folder", async () => {
    put('.gitignore', '*.o\n/*\n!/debian/\n')

    expect([...(await listSourceTree(tree)).files].sort()).toEqual(['Makefile', 'mm/memory.c'])
  })

  test('changes its identity with a file', async () => {
    const before = await identity()
    put('mm/memory.c', 'int longer;\n')

    expect(await identity()).not.toBe(before)
  })
})
