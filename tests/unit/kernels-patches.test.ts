// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { applyOverlay, type OverlayTree } from '../../src/kernels/overlay.js'
import { type Patch, touchedPaths } from '../../src/kernels/patches.js'

let folder: string
let tree: OverlayTree
const longAgo = new Date('2001-01-01')

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-patches-`))
  tree = { src: join(folder, 'src'), pristine: join(folder, 'pristine') }
  put('mm/a.c', 'one\ntwo\nthree\n')
  put('mm/b.c', 'alpha\nbeta\n')
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

function put(path: string, content: string): void {
  mkdirSync(dirname(join(tree.src, path)), { recursive: true })
  writeFileSync(join(tree.src, path), content)
  utimesSync(join(tree.src, path), longAgo, longAgo)
}

const content = (path: string): string => readFileSync(join(tree.src, path), 'utf8')
const isOld = (path: string): boolean => statSync(join(tree.src, path)).mtimeMs === longAgo.getTime()

/** A patch as git makes it, between the tree and the same with these contents (null: removed). */
function patchTo(name: string, wanted: Record<string, string | null>): Patch {
  const [before, after] = ['before', 'after'].map((side) => join(folder, name, side))
  if (before === undefined || after === undefined) throw new Error('unreachable')
  for (const [path, text] of Object.entries(wanted)) {
    for (const side of [before, after]) mkdirSync(dirname(join(side, path)), { recursive: true })
    if (existsSync(join(tree.src, path))) writeFileSync(join(before, path), content(path))
    if (text !== null) writeFileSync(join(after, path), text)
  }
  const args = ['diff', '--no-index', '--src-prefix=', '--dst-prefix=', 'before', 'after']
  const diff = spawnDiff(args, join(folder, name)).replaceAll(' before/', ' a/').replaceAll(' after/', ' b/')
  const file = join(folder, `${name}.patch`)
  writeFileSync(file, diff)
  return { name: `${name}.patch`, file, text: diff, touches: touchedPaths(diff) }
}

function spawnDiff(args: string[], cwd: string): string {
  try {
    return execFileSync('git', args, { cwd, encoding: 'utf8' })
  } catch (error) {
    // git diff --no-index exits with 1 when there are differences.
    return String((error as { stdout: string }).stdout)
  }
}

describe('touchedPaths', () => {
  test('names changed, added, removed and renamed files', () => {
    const patch = `--- a/mm/a.c
+++ b/mm/a.c
@@ -1 +1 @@
-x
+y
--- /dev/null
+++ b/mm/new.c
@@ -0,0 +1 @@
+y
--- a/mm/old.c
+++ /dev/null
@@ -1 +0,0 @@
-x
diff --git a/mm/from.c b/mm/to.c
rename from mm/from.c
rename to mm/to.c
`
    expect(touchedPaths(patch)).toEqual(['mm/a.c', 'mm/new.c', 'mm/old.c', 'mm/from.c', 'mm/to.c'])
  })

  test('does not take a removed line for a file name', () => {
    const patch =
      '--- a/mm/a.sql\n+++ b/mm/a.sql\n@@ -1,2 +1,2 @@\n--- a/not/a/file\n+++ b/not/a/file\n same\n'

    expect(touchedPaths(patch)).toEqual(['mm/a.sql'])
  })

  test('refuses a path that leads out of the tree', () => {
    expect(() => touchedPaths('--- a/../../etc/passwd\n+++ b/../../etc/passwd\n')).toThrow(
      /outside of the source tree/,
    )
  })
})

describe('an overlay', () => {
  test('applies patches in order and reports only the files that it wrote', async () => {
    const first = patchTo('first', { 'mm/a.c': 'one\nTWO\nthree\n' })
    const written = await applyOverlay(tree, [], [first])

    expect(written).toEqual(['mm/a.c'])
    expect(content('mm/a.c')).toBe('one\nTWO\nthree\n')
    expect(isOld('mm/b.c')).toBe(true)
  })

  test('undoes the patches that were there before, without touching what both sets change alike', async () => {
    const both = patchTo('both', { 'mm/a.c': 'one\nTWO\nthree\n', 'mm/b.c': 'alpha\nBETA\n' })
    const onlyA = patchTo('only-a', { 'mm/a.c': 'one\nTWO\nthree\n' })
    await applyOverlay(tree, [], [both])
    utimesSync(join(tree.src, 'mm/a.c'), longAgo, longAgo)

    const written = await applyOverlay(tree, both.touches, [onlyA])

    expect(written).toEqual(['mm/b.c'])
    expect(content('mm/b.c')).toBe('alpha\nbeta\n')
    expect(isOld('mm/a.c')).toBe(true)
  })

  test('adds and removes files, and takes both back', async () => {
    const patch = patchTo('add-remove', { 'mm/new.c': 'new\n', 'mm/b.c': null })
    await applyOverlay(tree, [], [patch])
    expect(content('mm/new.c')).toBe('new\n')
    expect(existsSync(join(tree.src, 'mm/b.c'))).toBe(false)

    await applyOverlay(tree, patch.touches, [])

    expect(existsSync(join(tree.src, 'mm/new.c'))).toBe(false)
    expect(content('mm/b.c')).toBe('alpha\nbeta\n')
  })

  test('leaves the tree as it was when a patch does not apply, and says which one', async () => {
    const good = patchTo('good', { 'mm/b.c': 'alpha\nBETA\n' })
    const bad = patchTo('bad', { 'mm/a.c': 'one\nTWO\nthree\n' })
    put('mm/a.c', 'something\nelse\n')

    await expect(applyOverlay(tree, [], [good, bad])).rejects.toMatchObject({
      message: expect.stringMatching(/bad\.patch does not apply\n {2}mm\/a\.c: Hunk #1 FAILED at 1/),
      exitCode: 125,
    })
    expect(content('mm/a.c')).toBe('something\nelse\n')
    expect(content('mm/b.c')).toBe('alpha\nbeta\n')
  })

  test('says that a patch is in the source already', async () => {
    const patch = patchTo('twice', { 'mm/a.c': 'one\nTWO\nthree\n' })
    put('mm/a.c', 'one\nTWO\nthree\n')

    await expect(applyOverlay(tree, [], [patch])).rejects.toThrow(
      /mm\/a\.c: Reversed \(or previously applied\)/,
    )
  })

  test('does not apply a hunk where the context differs', async () => {
    const patch = patchTo('exact', { 'mm/a.c': 'one\nTWO\nthree\n' })
    put('mm/a.c', 'ONE\ntwo\nthree\n')

    await expect(applyOverlay(tree, [], [patch])).rejects.toMatchObject({ exitCode: 125 })
  })
})
