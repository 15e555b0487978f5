// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { atCommit, type Baseline, copyBaseFiles } from '../../src/kernels/baseline.js'
import { readRange, readSeries } from '../../src/kernels/series.js'
import { SeriesRepo } from '../../src/kernels/series-repo.js'
import { parseSubject } from '../../src/kernels/series-select.js'
import { listSourceTree } from '../../src/kernels/source-tree.js'
import { parseKernelSpec } from '../../src/kernels/spec.js'
import { projectRoot } from '../../src/paths.js'
import { silentProgress } from '../../src/progress.js'

// Each runs git dozens of times.
vi.setConfig({ testTimeout: 60_000 })

const FIVE = join(projectRoot, 'tests/harness/fixtures/series/v3_five_patches.mbx')
const options = { progress: silentProgress }
let folder: string
let work: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-series-`))
  work = join(folder, 'work')
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

function put(path: string, content: string | Buffer): string {
  const file = join(folder, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, content)
  return file
}

/** A diff of one line of a file that reads `one`, `two`, `three`. */
function diffOf(file: string, from: string, to: string): string {
  return `--- a/${file}\n+++ b/${file}\n@@ -1,3 +1,3 @@\n one\n-${from}\n+${to}\n three\n`
}

function mail(subject: string, diff: string): string {
  return `From x@z Thu Jan  1 00:00:00 1970\nFrom: A B <a@b>\nSubject: ${subject}\n\nWords.\n---\n${diff}\n`
}

describe('a subject', () => {
  test.each([
    ['[PATCH v3 2/5] KVM: x', { title: 'KVM: x', isReply: false, version: [3, 0], number: 2, total: 5 }],
    ['[RFC PATCH 02/11] x', { title: 'x', isReply: false, version: [1, 0], number: 2, total: 11 }],
    ['[PATCH v3.1 2/5] x', { title: 'x', version: [3, 1] }],
    ['[PATCH][v2] [net 1/2] x', { title: 'x', version: [2, 0], number: 1 }],
    ['Re: [PATCH v3 2/5] x', { title: 'x', isReply: true, number: 2 }],
    ['KVM: v2 of 1/2 [sic]', { title: 'KVM: v2 of 1/2 [sic]', version: [1, 0], number: null, total: null }],
  ])('%s', (text, expected) => {
    expect(parseSubject(text)).toMatchObject(expected)
  })
})

describe('a mailbox', () => {
  test('gives the patches of the newest version in order, decoded, and says what it leaves out', async () => {
    const { patches, leftOut } = await readSeries(FIVE, work)

    expect(patches.map(({ number, title }) => `${number} ${title}`)).toEqual([
      '1 KVM: Say what kvm_vm_set_mem_attributes() locks',
      '2 KVM: Look at the first page alone before a conversion',
      '3 KVM: guest_memfd: Count the files that were released',
      '4 KVM: guest_memfd: Turn a TODO into a statement',
      '5 KVM: Look at all of a range again before a conversion',
    ])
    expect(patches.map(({ author }) => author)).toEqual(Array(5).fill('Jörg Prüfer <joerg@example.org>'))
    expect(patches.map(({ touches }) => touches)).toEqual([
      ['virt/kvm/kvm_main.c'],
      ['virt/kvm/kvm_main.c'],
      ['virt/kvm/guest_memfd.c'],
      ['virt/kvm/guest_memfd.c'],
      ['virt/kvm/kvm_main.c'],
    ])
    expect(readFileSync(patches[0]?.file ?? '', 'utf8')).toContain('half converted – see also')
    expect(leftOut).toEqual([
      expect.stringMatching(/Re: \[PATCH v3 4\/5\].*: a reply$/),
      expect.stringMatching(/\[PATCH v2 1\/4\].*: an older version$/),
    ])
  })

  test('may be gzipped', async () => {
    const { patches } = await readSeries(put('t.mbox.gz', gzipSync(readFileSync(FIVE))), work)

    expect(patches).toHaveLength(5)
  })

  test('of a number sent again gives the newest', async () => {
    const first = mail('[PATCH 1/1] x', diffOf('a.c', 'two', 'TWO'))
    const again = mail('[PATCH v1.1 1/1] better', diffOf('a.c', 'two', 'Two'))

    const { patches, leftOut } = await readSeries(put('x.mbox', again + first), work)

    expect(patches.map(({ title }) => title)).toEqual(['better'])
    expect(leftOut).toEqual([expect.stringContaining('sent again')])
  })

  test.each([
    [
      'lacks patch 2/3',
      [mail('[PATCH 1/3] x', diffOf('a.c', 'a', 'b')), mail('[PATCH 3/3] y', diffOf('a.c', 'b', 'c'))],
    ],
    [
      'more than one series',
      [mail('[PATCH 1/1] x', diffOf('a.c', 'a', 'b')), mail('[PATCH 1/2] y', diffOf('a.c', 'b', 'c'))],
    ],
    ['holds no patch', [mail('[PATCH 0/1] x', 'no diff')]],
    ['holds no patch', [mail('Re: [PATCH 1/1] x', diffOf('a.c', 'a', 'b'))]],
  ])('is refused with exit code 2: %s', async (message, mails) => {
    await expect(readSeries(put('bad.mbox', mails.join('')), work)).rejects.toMatchObject({
      message: expect.stringContaining(message),
      exitCode: 2,
    })
  })
})

describe('a folder', () => {
  test('of plain diffs gives them by name', async () => {
    put('p/0002-second.patch', diffOf('a.c', 'TWO', 'deux'))
    put('p/0001-first.patch', diffOf('a.c', 'two', 'TWO'))
    put('p/notes.txt', 'no patch')

    const { patches } = await readSeries(join(folder, 'p'), work)

    expect(patches.map(({ title }) => title)).toEqual(['0001-first.patch', '0002-second.patch'])
  })

  test('with a quilt series gives what that names, with -p0 too', async () => {
    put('q/series', '# comment\nb.patch -p0 # why\n\na.patch\n')
    put('q/a.patch', `Description: words\n\n${diffOf('a.c', 'TWO', 'deux')}`)
    put('q/b.patch', diffOf('a.c', 'two', 'TWO').replaceAll(/ [ab]\//g, ' '))
    put('q/unused.patch', diffOf('a.c', 'two', 'x'))

    const { patches } = await readSeries(join(folder, 'q'), work)

    expect(patches.map(({ origin, strip, touches }) => [origin, strip, ...touches])).toEqual([
      ['b.patch', 0, 'a.c'],
      ['a.patch', 1, 'a.c'],
    ])
  })

  test.each([
    ['there is no', { series: 'gone.patch\n' }],
    ['unknown option', { series: 'a.patch -R\n', 'a.patch': diffOf('a.c', 'a', 'b') }],
    ['holds no *.patch', { 'README.md': '' }],
  ])('is refused with exit code 2: %s', async (message, files) => {
    for (const [name, text] of Object.entries(files)) put(join('f', name), text)

    await expect(readSeries(join(folder, 'f'), work)).rejects.toMatchObject({
      message: expect.stringContaining(message),
      exitCode: 2,
    })
  })
})

describe('a series on a tree', () => {
  const git = (...args: string[]): string =>
    execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', ...args], {
      cwd: join(folder, 'linux'),
      encoding: 'utf8',
    }).trim()

  beforeEach(() => {
    for (const name of ['Makefile', 'Kconfig', 'other.c']) put(join('linux', name), 'all:\n')
    put('linux/a.c', 'one\ntwo\nthree\n')
  })

  async function baseline(): Promise<Baseline> {
    const path = join(folder, 'linux')
    const source = { kind: 'tree', path, listing: await listSourceTree(path) } as const
    return { spec: parseKernelSpec(path), source, toolchain: { identity: '', makeArguments: [] }, before: [] }
  }

  async function repoOf(...diffs: string[]): Promise<SeriesRepo> {
    for (const [index, diff] of diffs.entries()) put(`s/${index + 1}.patch`, diff)
    const { patches } = await readSeries(join(folder, 's'), work)
    return await SeriesRepo.create(await baseline(), patches, work, options)
  }

  test('is the sum of its patches at each point, and leaves the tree alone', async () => {
    const repo = await repoOf(diffOf('a.c', 'two', 'TWO'), diffOf('a.c', 'TWO', 'deux'))

    expect(await repo.change(await repo.reach(0))).toBeNull()
    expect((await repo.change(await repo.reach(2)))?.text).toMatch(/^-two\n\+deux$/m)
    expect((await repo.change(await repo.reach(2)))?.touches).toEqual(['a.c'])
    expect(readFileSync(join(folder, 'linux/a.c'), 'utf8')).toBe('one\ntwo\nthree\n')
  })

  test('names a patch that does not apply, and goes on without it', async () => {
    const repo = await repoOf(diffOf('a.c', 'zwei', 'TWO'), diffOf('a.c', 'two', 'deux'))

    const { applied } = await repo.reach(2)

    expect(applied.get(1)).toEqual({ ok: false, reason: expect.stringContaining('a.c') })
    expect(applied.get(2)).toMatchObject({ ok: true })
  })

  test('says that a patch is there already', async () => {
    const { applied } = await (await repoOf(diffOf('a.c', 'TWO', 'two'))).reach(1)

    expect(applied.get(1)).toEqual({ ok: false, reason: 'it is in the source already' })
  })

  test('can be taken without a patch', async () => {
    const other = '--- /dev/null\n+++ b/new.c\n@@ -0,0 +1 @@\n+new\n'
    const repo = await repoOf(other, diffOf('a.c', 'two', 'TWO'))

    const change = await repo.change(await repo.reach(2, new Set([1])))

    expect(change?.touches).toEqual(['a.c'])
  })

  test('of commits is read from git, and refused where it holds merges', async () => {
    git('init', '--quiet', '--initial-branch=main')
    git('add', '.')
    git('commit', '--quiet', '-m', 'base')
    put('linux/a.c', 'one\nTWO\nthree\n')
    git('commit', '--quiet', '-am', 'KVM: Second')
    put('linux/a.c', 'one\ndeux\nthree\n')
    git('commit', '--quiet', '-am', 'KVM: Third')

    const { patches } = await readRange('HEAD~2..HEAD', join(folder, 'linux'), work)
    const before = await atCommit(await baseline(), git('rev-parse', 'HEAD~1'), work)
    await copyBaseFiles(before, ['a.c'], join(folder, 'copy'), options)

    expect(patches.map(({ title }) => title)).toEqual(['KVM: Second', 'KVM: Third'])
    expect(readFileSync(join(folder, 'copy/a.c'), 'utf8')).toBe('one\nTWO\nthree\n')
    git('checkout', '--quiet', '-b', 'side', 'HEAD~1')
    put('linux/other.c', 'other\n')
    git('commit', '--quiet', '-am', 'side')
    git('merge', '--quiet', '-m', 'merge', 'main')
    await expect(readRange('main~2..side', join(folder, 'linux'), work)).rejects.toThrow(/holds merges/)
  })
})
