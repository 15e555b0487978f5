// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { cacheRoot, projectRoot } from '../../src/paths.js'
import type { SeriesResult } from '../../src/report/series.js'
import { type OverlaidCache, overlayCache } from './support/overlay.js'
import { type GmemRun, Sandbox, skipFor } from './support/run-gmem.js'
import { createSmallProject, type SmallProject } from './support/small-project.js'

// tests/harness/fixtures/series/README.md says what each of the five patches does.
const FIVE = join(projectRoot, 'tests/harness/fixtures/series/v3_five_patches.mbx')
const KERNEL = '7.3'
/** For half a dozen builds of KVM and as many boots, on a machine that does other things too, in ms. */
const SERIES_MS_MAX = 1_800_000

let project: SmallProject
let box: Sandbox
let cache: OverlaidCache | string

beforeAll(async () => {
  project = createSmallProject()
  box = await Sandbox.create(project.root)
  cache = await overlayCache(KERNEL, box.path)
}, SERIES_MS_MAX)
afterAll(async () => {
  if (typeof cache !== 'string') await cache.release()
  await box.remove()
  project.remove()
})
beforeEach((context) => {
  if (typeof cache === 'string') skipFor(cache, context)
})

async function gmem(...args: string[]): Promise<GmemRun> {
  return await box.run(args, typeof cache === 'string' ? {} : cache.options)
}

const folder = (name: string): string => join(box.path, name)

/** What this machine's own cache has; somebody may have run a series on it. */
function kernelsHere(): string[] {
  return readdirSync(join(cacheRoot(), 'kernels')).sort()
}

describe('a series of five patches, each tested', () => {
  const before = kernelsHere()
  let run: GmemRun
  let result: SeriesResult

  beforeAll(async () => {
    if (typeof cache === 'string') return
    run = await gmem(
      'series',
      FIVE,
      'converts',
      '--base',
      KERNEL,
      '--every',
      '-o',
      folder('series'),
      '--json',
    )
    result = JSON.parse(run.stdout)
  }, SERIES_MS_MAX)

  test('has a row for each, with what it came to', () => {
    const rows = result.rows.map(({ number, applies, builds, without, result: tested }) => [
      number,
      applies,
      builds === 'yes' ? builds : 'no',
      without,
      tested && [tested.passed, tested.failed],
    ])

    expect(rows).toEqual([
      [0, null, 'yes', [], [1, 0]],
      [1, 'yes', 'yes', [], [1, 0]],
      [2, 'yes', 'yes', [], [0, 1]],
      [3, 'yes', 'no', [], null],
      [4, 'yes', 'yes', [3], [0, 1]],
      [5, 'yes', 'yes', [3], [1, 0]],
    ])
  })

  test('names the patch that breaks the test, and the one that mends it', () => {
    const changes = result.rows.map(({ number, comparedWith, changes }) => [
      number,
      comparedWith,
      ...changes.map(({ kind, name }) => `${kind}: ${name}`),
    ])
    const title = 'converts all of a range whose first page is private'

    expect(changes).toEqual([
      [0, null],
      [1, 0],
      [2, 1, `broke: ${title}`],
      [3, null],
      [4, 2],
      [5, 4, `fixed: ${title}`],
    ])
  })

  test('says why the third does not build, and keeps the log', () => {
    const trouble = result.rows[3]?.builds

    expect(trouble).toMatchObject({ reason: expect.stringContaining('has no member named ‘statistics’') })
    expect(readFileSync(join(folder('series'), 'patch-3', 'build.log'), 'utf8')).toContain('guest_memfd.o')
  })

  test('ends with the exit code of what does not build', () => {
    expect(run.exitCode).toBe(125)
    expect(result.exitCode).toBe(125)
  })

  test('leaves nothing in the cache of this machine', async () => {
    expect(kernelsHere()).toEqual(before)
    expect(await box.leftovers()).toEqual([])
  })

  test('gives results that gmem compare tells apart', async () => {
    const [before, broken, mended] = ['patch-1', 'patch-2', 'patch-5'].map((name) =>
      join(folder('series'), name),
    )

    const worse = await gmem('compare', before ?? '', broken ?? '')
    const better = await gmem('compare', broken ?? '', mended ?? '')

    expect(worse.lastLine).toBe('B is worse than A: 1 broke; 0 unchanged')
    expect(worse.exitCode).toBe(1)
    expect(better.lastLine).toBe('B is not worse than A: 1 fixed; 0 unchanged')
    expect(better.exitCode).toBe(0)
  })

  test('agrees with gmem bisect', { timeout: SERIES_MS_MAX }, async () => {
    const ends = ['--good', '0', '--bad', '4']

    const { exitCode, stdout } = await gmem('bisect', 'converts', '--series', FIVE, '--base', KERNEL, ...ends)

    expect(stdout).toBe('first bad: 2/5 KVM: Look at the first page alone before a conversion')
    expect(exitCode).toBe(0)
  })
})
