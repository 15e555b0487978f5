// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { rerunRequest } from '../../src/cli/rerun-request.js'
import { readRun } from '../../src/report/earlier-run.js'
import { mergeInto } from '../../src/report/merge-folder.js'
import { mergedPage } from '../../src/report/merge-page.js'
import { type MergePart, readPart } from '../../src/report/merge-parts.js'
import type { TargetResult } from '../../src/report/schema.js'
import { exampleTarget } from './report-example.js'
import { kernel, type PartFields, part, tested } from './report-merge-parts.js'

let root = ''

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'gmem-merge-'))
})
afterEach(() => rmSync(root, { recursive: true }))

/** A part as it is read back from a folder that has these files beside its result. */
async function stored(
  given: string,
  fields: PartFields,
  files: Readonly<Record<string, string>> = {},
): Promise<MergePart> {
  const { run, environment } = part(given, { request: { seed: 0 }, ...fields })
  const folder = join(root, given)
  mkdirSync(folder)
  const all = {
    ...files,
    'result.json': JSON.stringify(run),
    'environment.json': JSON.stringify(environment),
  }
  for (const [name, text] of Object.entries(all)) writeFileSync(join(folder, name), text)
  return await readPart(folder)
}

const died = (file: string, consoleFile: string): TargetResult[] => {
  const message = `the guest kernel died\n\nconsole: /runner/result/${consoleFile}`
  const test = tested(file, `of ${file}`, {
    status: 'failed',
    failure: 'death',
    error: { name: 'GuestDied', message },
  })
  return [kernel([test], { deaths: [{ message: 'panic', console: `/runner/result/${consoleFile}` }] })]
}

describe('the folder of a merged result', () => {
  test('has the consoles of all parts, and each death names its own: the parts came from machines with the same paths', async () => {
    const files = (n: number) => ({
      'console-7.3-saved.log': `saved ${n}`,
      'console-7.3-1.log': `one of ${n}`,
      'console-7.3-2.log': `two of ${n}`,
      '7.3.config': 'CONFIG_KVM=y\n',
      'output.txt': 'not of the run',
    })
    const whole = join(root, 'whole')
    const parts = [
      await stored('a', { shard: '1/2', targets: died('a', 'console-7.3-2.log') }, files(1)),
      await stored('b', { shard: '2/2', targets: died('b', 'console-7.3-1.log') }, files(2)),
    ]

    const { run } = await mergeInto(whole, parts)

    const [target] = run.targets
    const said = target?.deaths.map(({ console }) => readFileSync(console ?? '', 'utf8'))
    const named = target?.tests.map(({ error }) => /console: (.*)$/.exec(error?.message ?? '')?.[1] ?? '')
    expect(said).toEqual(['two of 1', 'one of 2'])
    expect(named?.map((file) => readFileSync(file, 'utf8'))).toEqual(['two of 1', 'one of 2'])
    expect(readdirSync(whole).sort()).toEqual([
      '7.3.config',
      ...[1, 2, 3, 4].map((n) => `console-7.3-${n}.log`),
      'console-7.3-saved-2.log',
      'console-7.3-saved.log',
      'environment.json',
      'result.json',
    ])
  })

  test('keeps all consoles when it is merged once more, those of several saved VMs too', async () => {
    const consoles = ['console-7.3-1.log', 'console-7.3-saved.log', 'console-7.3-saved-2.log']
    const merged = await stored(
      'merged',
      { targets: [kernel([])] },
      Object.fromEntries(consoles.map((name) => [name, name])),
    )

    await mergeInto(join(root, 'again'), [merged])

    const kept = readdirSync(join(root, 'again')).filter((name) => name.startsWith('console-'))
    expect(kept.sort()).toEqual(consoles.toSorted())
  })

  test('names consoles after the target that is told apart from another of the same id', async () => {
    const [kvm, tcg] = [
      await stored('a', { targets: [kernel([], { accel: 'kvm' })] }, { 'console-7.3-1.log': 'kvm' }),
      await stored('b', { targets: [kernel([], { accel: 'tcg' })] }, { 'console-7.3-1.log': 'tcg' }),
    ]

    await mergeInto(join(root, 'whole'), [kvm, tcg])

    expect(readFileSync(join(root, 'whole', 'console-7.3@tcg-1.log'), 'utf8')).toBe('tcg')
  })

  test('is what gmem rerun and another merge read', async () => {
    const fields = { targets: died('a', 'console-7.3-1.log'), request: { filters: ['a'], seed: 0 } }
    const host = {
      targets: [exampleTarget('host', [])],
      request: { kernels: [], host: true, filters: ['b'] },
    }
    const parts = [
      await stored('a', { shard: '1/1', ...fields }, { 'console-7.3-1.log': 'x' }),
      await stored('b', host),
    ]

    const whole = join(root, 'whole')
    const { run } = await mergeInto(whole, parts)

    const earlier = await readRun(whole)
    expect(rerunRequest(earlier, false)).toMatchObject({ kernels: ['7.3'], host: true, filters: ['a', 'b'] })
    expect(rerunRequest(earlier, true)).toMatchObject({ kernels: ['7.3'], host: false, seed: 0 })
    expect(rerunRequest(earlier, true)).toHaveProperty('shard', undefined)
    const again = await mergeInto(join(root, 'again'), [await readPart(whole)])
    expect({ ...again.run, targets: [] }).toEqual({
      ...run,
      artefacts: join(root, 'again'),
      targets: [],
    })
  })

  test('asks rerun for one seed: targets with several are run again apart', async () => {
    const [one, other] = [
      await stored('a', { run: { seed: 7 }, targets: died('a', 'x') }),
      await stored('b', { run: { seed: 8 }, targets: [exampleTarget('host', [])] }),
    ]
    await mergeInto(join(root, 'whole'), [one, other])

    const earlier = await readRun(join(root, 'whole'))
    expect(() => rerunRequest(earlier, false)).toThrow('the merged targets had different seeds: 7, 8')
    expect(rerunRequest(earlier, true)).toMatchObject({ seed: 7 })
  })

  test('gives a page with a cell for each target, and only its own consoles in it', async () => {
    const files = { 'console-7.3-1.log': 'what 7.3 said', 'console-7.3-debug-1.log': 'what debug said' }
    const targets = [...died('a', 'console-7.3-1.log'), exampleTarget('7.3-debug', [tested('a', 'fine')])]

    const merged = await mergeInto(join(root, 'whole'), [await stored('a', { targets }, files)])
    const page = await mergedPage(merged, 'merged from a')

    expect(page).toContain('2 cells: 1 good, 1 bad')
    expect(page.split('what 7.3 said')).toHaveLength(2)
    expect(page.split('what debug said')).toHaveLength(2)
    expect(page).toContain('merged from a')
  })
})

describe('nothing is written', () => {
  test('where the folder is not empty', async () => {
    const only = await stored('a', {})
    writeFileSync(join(root, 'mine'), '')

    await expect(mergeInto(root, [only])).rejects.toThrow('the folder is not empty')
    expect(readdirSync(root).sort()).toEqual(['a', 'mine'])
  })

  test('where the folder cannot be made', async () => {
    writeFileSync(join(root, 'file'), '')

    await expect(mergeInto(join(root, 'file', 'below'), [await stored('a', {})])).rejects.toMatchObject({
      message: expect.stringContaining('the folder cannot be made: ENOTDIR'),
      exitCode: 2,
    })
  })

  test('where the parts make no whole', async () => {
    await expect(mergeInto(join(root, 'whole'), [await stored('a', { shard: '1/2' })])).rejects.toThrow(
      'shard 2/2',
    )
    expect(existsSync(join(root, 'whole'))).toBe(false)
  })
})

describe('what cannot be read is named', () => {
  const write = (files: Readonly<Record<string, string>>): string => {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text)
    return root
  }
  const result = JSON.stringify(part('a').run)

  test.each([
    ['there is no result', {}, 'there is no result in '],
    ['it is no JSON', { 'result.json': '{' }, 'result.json is no result of gmem test: '],
    ['it is no result', { 'result.json': '{}' }, 'result.json is no result of gmem test: '],
    [
      'its environment is missing',
      { 'result.json': result },
      'environment.json, which says what was asked for, cannot be read: ENOENT',
    ],
    [
      'its environment is none',
      { 'result.json': result, 'environment.json': '[]' },
      'environment.json was not written by gmem test',
    ],
  ])('where %s', async (_what, files, message) => {
    await expect(readPart(write(files))).rejects.toMatchObject({
      message: expect.stringContaining(message),
      exitCode: 2,
    })
  })
})
