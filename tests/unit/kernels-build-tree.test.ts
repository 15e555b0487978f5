// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type BuildTree, createTree, openTree, prepareTree } from '../../src/kernels/build-tree.js'
import type { Patch } from '../../src/kernels/patches.js'
import { listSourceTree, type Source } from '../../src/kernels/source-tree.js'
import { writeTreeState } from '../../src/kernels/tree-state.js'
import { silentProgress } from '../../src/progress.js'

// Each runs git and tar several times.
vi.setConfig({ testTimeout: 30_000 })

const options = { progress: silentProgress }
let folder: string
let tree: BuildTree

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-sync-`))
  mkdirSync(join(folder, 'linux/mm'), { recursive: true })
  edit('Makefile', 'all:\n')
  edit('mm/a.c', 'one\ntwo\nthree\nfour\nfive\nsix\nseven\n')
  edit('mm/b.c', 'alpha\n')
  tree = await createTree(join(folder, 'tree'), await source(), options)
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

const edit = (path: string, text: string): void => writeFileSync(join(folder, 'linux', path), text)
const built = (path: string): string => readFileSync(join(tree.src, path), 'utf8')

async function source(): Promise<Source> {
  const path = join(folder, 'linux')
  return { kind: 'tree', path, listing: await listSourceTree(path) }
}

/** Changes the line `two` of mm/a.c to `TWO`. */
function patch(): Patch {
  const text = '--- a/mm/a.c\n+++ b/mm/a.c\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n'
  const file = join(folder, 'two.patch')
  writeFileSync(file, text)
  return { name: 'two.patch', file, text, touches: ['mm/a.c'] }
}

const prepare = async (...patches: Patch[]) => prepareTree(tree, await source(), patches, options)

const git = (...args: string[]): void => {
  const identity = ['-c', 'user.name=gmem', '-c', 'user.email=gmem@localhost']
  execFileSync('git', ['-C', join(folder, 'linux'), ...identity, ...args], { stdio: 'ignore' })
}

function commitAll(): void {
  git('init')
  git('add', '-A')
  git('commit', '-m', 'all')
}

describe.each([
  ['a plain source tree', () => {}],
  ['a git tree', commitAll],
  ['a git tree without a commit', () => git('init')],
])('a build tree of %s', (_, setUp) => {
  beforeEach(setUp)

  test('holds a copy of it', async () => {
    await prepare()

    expect(built('mm/b.c')).toBe('alpha\n')
  })

  test('follows an edit, a new file and a removed one', async () => {
    await prepare()
    edit('mm/b.c', 'beta\n')
    edit('mm/new.c', 'new\n')
    rmSync(join(folder, 'linux/mm/a.c'))

    await prepare()

    expect(built('mm/b.c')).toBe('beta\n')
    expect(built('mm/new.c')).toBe('new\n')
    expect(existsSync(join(tree.src, 'mm/a.c'))).toBe(false)
  })

  test('follows an edit of a file that a patch changes, under the patch', async () => {
    await prepare(patch())
    edit('mm/a.c', 'one\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n')

    await prepare(patch())

    expect(built('mm/a.c')).toBe('one\nTWO\nthree\nfour\nfive\nsix\nSEVEN\n')
  })

  test('follows an edit of a file that a patch changed before, and no longer does', async () => {
    await prepare(patch())
    await prepare()
    edit('mm/a.c', 'rewritten\n')

    await prepare()

    expect(built('mm/a.c')).toBe('rewritten\n')
  })

  test('follows the removal of a file that a patch changed before', async () => {
    await prepare(patch())
    await prepare()
    rmSync(join(folder, 'linux/mm/a.c'))

    await prepare()

    expect(existsSync(join(tree.src, 'mm/a.c'))).toBe(false)
  })

  test('drops a patch together with an edit of the same file', async () => {
    await prepare(patch())
    edit('mm/a.c', 'rewritten\n')

    await prepare()

    expect(built('mm/a.c')).toBe('rewritten\n')
  })

  test('tells which files changed', async () => {
    await prepare()
    expect(await prepare()).toEqual([])
    edit('mm/Kconfig', 'config X\n')

    expect(await prepare()).toEqual(['mm/Kconfig'])
  })

  test('is opened again when it was left clean, and removed when it was not', async () => {
    await prepare()
    writeTreeState(tree.dir, { ...tree.state, clean: true })
    expect(openTree(tree.dir)?.state.copied).toHaveProperty('mm/a.c')

    writeTreeState(tree.dir, { ...tree.state, clean: false })

    expect(openTree(tree.dir)).toBeNull()
    expect(existsSync(tree.dir)).toBe(false)
  })
})

describe('a build tree of a git tree', () => {
  beforeEach(async () => {
    commitAll()
    await prepare()
  })

  test('follows an edit that is undone', async () => {
    edit('mm/b.c', 'beta\n')
    await prepare()
    git('checkout', 'mm/b.c')

    await prepare()

    expect(built('mm/b.c')).toBe('alpha\n')
  })

  test('follows an edit that is committed, another branch, and the way back', async () => {
    edit('mm/b.c', 'beta\n')
    await prepare()
    git('checkout', '-b', 'other')
    git('commit', '-a', '-m', 'beta')
    await prepare()
    expect(built('mm/b.c')).toBe('beta\n')

    git('checkout', '-')
    git('reset', '--hard', 'HEAD')
    await prepare()

    expect(built('mm/b.c')).toBe('alpha\n')
  })

  test('follows a new file that goes again, and one that becomes ignored', async () => {
    edit('mm/new.c', 'new\n')
    edit('mm/ignored.c', 'new\n')
    await prepare()
    rmSync(join(folder, 'linux/mm/new.c'))
    edit('.gitignore', 'ignored.c\n')

    await prepare()

    expect(existsSync(join(tree.src, 'mm/new.c'))).toBe(false)
    expect(existsSync(join(tree.src, 'mm/ignored.c'))).toBe(false)
  })

  test('forgets nothing when copying ends half way', async () => {
    edit('mm/b.c', 'beta\n')
    const dirty = await source()
    // As if the copy had been made, and a signal had come before that was noted.
    writeFileSync(join(tree.src, 'mm/b.c'), 'beta\n')
    const aborted = { ...options, signal: AbortSignal.abort() }
    await expect(prepareTree(tree, dirty, [], aborted)).rejects.toThrow()
    git('checkout', 'mm/b.c')

    await prepare()

    expect(built('mm/b.c')).toBe('alpha\n')
  })
})
