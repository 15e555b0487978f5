// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { matrixCells } from '../../src/cli/matrix-cells.js'
import { checkMatrix, loadMatrixConfig } from '../../src/cli/matrix-config.js'
import { defaultJobs } from '../../src/cli/matrix-run.js'
import { runArguments } from '../../src/cli/run-options.js'
import { defineMatrix, type MatrixConfig } from '../../src/config.js'
import { projectRoot } from '../../src/paths.js'

// Loading one starts vite; on a busy machine that takes seconds.
vi.setConfig({ testTimeout: 60_000 })

const FILE = '/nowhere/gmem.config.ts'
let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-matrix-`))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function configFile(name: string, text: string): string {
  const file = join(folder, name)
  writeFileSync(file, text)
  return file
}

function namesOf(config: MatrixConfig): string[] {
  return matrixCells({ file: FILE, config }).map(({ name }) => name)
}

describe('the shape of a matrix', () => {
  test.each<[string, unknown, string]>([
    ['nothing', null, 'the matrix: Invalid input: expected object, received null'],
    ['no kernels', {}, 'kernels: Invalid input: expected array, received undefined'],
    ['an empty axis', { kernels: [] }, 'kernels: Too small'],
    ['a kernel that is no text', { kernels: ['7.3', 7.2] }, 'kernels[1]: Invalid input: expected string'],
    [
      'an accelerator that is none',
      { kernels: ['7.3'], accelerators: ['xen'] },
      'accelerators[0]: Invalid option',
    ],
    [
      'parameters on two lines',
      { kernels: ['7.3'], parameters: ['a\nb'] },
      'parameters[0]: one line is wanted',
    ],
    ['an exclusion of nothing', { kernels: ['7.3'], exclude: [{}] }, 'exclude[0]: it names nothing'],
    ['a pattern that is none', { kernels: ['7.3'], tests: '(' }, 'tests: it is no regular expression'],
    ['a limit of 0 s', { kernels: ['7.3'], timeout: 0 }, 'timeout: Too small'],
    [
      'a misspelt field',
      { kernels: ['7.3'], flavors: ['debug'] },
      'flavors: there is no such field; there are kernels, flavours',
    ],
    [
      'a misspelt field of an exclusion',
      { kernels: ['7.3'], exclude: [{ param: '' }] },
      'exclude[0].param: there is no such field; there are kernel, flavour, parameters, accelerator',
    ],
  ])('%s is a usage error that names the field', (_what, exported, message) => {
    expect(() => checkMatrix(exported, FILE)).toThrow(
      expect.objectContaining({ exitCode: 2, message: expect.stringContaining(`${FILE}: ${message}`) }),
    )
  })

  test('every field that is wrong has its line', () => {
    expect(() => checkMatrix({ kernels: 1, all: 'yes' }, FILE)).toThrow(/kernels: .*\n.*all: /)
  })

  test('one that has every field is taken as it is', () => {
    const config = defineMatrix({
      kernels: ['7.3'],
      flavours: ['plain'],
      parameters: [''],
      accelerators: ['tcg'],
      exclude: [{ kernel: '7.3', flavour: 'plain', parameters: '', accelerator: 'tcg' }],
      files: ['conversion'],
      tests: 'punch',
      all: true,
      retries: 0,
      timeout: 60,
      slowdown: 2,
      splats: 'warn',
      leaks: 'off',
      allow: 'allow.txt',
    })

    expect(checkMatrix(config, FILE)).toEqual(config)
  })
})

describe('a configuration file', () => {
  test('is TypeScript, imports gmem/config wherever it is, and what lies beside it', async () => {
    mkdirSync(join(folder, 'sub'))
    configFile('sub/kernels.ts', "export const kernels: readonly string[] = ['7.3']\n")
    const file = configFile(
      'gmem.config.ts',
      "import { defineMatrix } from 'gmem/config'\nimport { kernels } from './sub/kernels.js'\nexport default defineMatrix({ kernels })\n",
    )

    expect(await loadMatrixConfig(file)).toEqual({ file, config: { kernels: ['7.3'] } })
  })

  test.each([
    ['that is not there', null, 'there is no '],
    ['without a default export', 'export const matrix = {}', 'has no default export'],
    ['that is no TypeScript', 'export default {', 'cannot be loaded'],
    ['that throws', "throw new Error('no luck')", 'cannot be loaded: no luck'],
  ])('%s is a usage error', async (_what, text, message) => {
    const file = text === null ? join(folder, 'none.ts') : configFile('wrong.ts', text)

    await expect(loadMatrixConfig(file)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining(message),
    })
  })
})

describe('the cells of a matrix', () => {
  test('are all combinations, kernels outermost, without what is excluded', () => {
    const config = {
      kernels: ['7.3', '7.2'],
      flavours: ['plain', 'debug'],
      parameters: ['', 'kvm_amd.npt=0'],
      exclude: [
        { kernel: '7.2', flavour: 'debug' },
        { flavour: 'debug', parameters: 'kvm_amd.npt=0' },
      ],
    }

    expect(namesOf(config)).toEqual(['7.3', '7.3 kvm_amd.npt=0', '7.3-debug', '7.2', '7.2 kvm_amd.npt=0'])
  })

  test('name their accelerator where there are several', () => {
    expect(namesOf({ kernels: ['7.3'], accelerators: ['kvm', 'tcg'] })).toEqual(['7.3 kvm', '7.3 tcg'])
    expect(namesOf({ kernels: ['7.3'], accelerators: ['tcg'] })).toEqual(['7.3'])
  })

  test('have the flavour that a kernel names where no axis does', () => {
    const [cell] = matrixCells({ file: FILE, config: { kernels: ['7.3-debug'] } })

    expect(cell).toMatchObject({ name: '7.3-debug', flavour: 'debug', spec: { flavour: 'debug' } })
  })

  test('find a source tree from where the configuration is', () => {
    const tree = join(folder, 'linux')
    mkdirSync(tree)
    for (const name of ['Makefile', 'Kconfig']) writeFileSync(join(tree, name), '')
    const file = join(folder, 'gmem.config.ts')

    const [cell] = matrixCells({ file, config: { kernels: ['./linux'], flavours: ['debug'] } })

    expect(cell?.name).toBe('./linux-debug')
    expect(cell?.spec.base).toEqual({ kind: 'tree', path: tree })
  })

  test.each<[string, MatrixConfig, string]>([
    ['a kernel that is none', { kernels: ['7.3', 'nope'] }, 'kernels[1]: kernel "nope" is neither'],
    ['a flavour that is none', { kernels: ['7.3'], flavours: ['odd'] }, 'there is no flavour "odd"'],
    [
      'a flavour in a kernel and on the axis',
      { kernels: ['7.3-debug'], flavours: ['plain'] },
      'kernels[0]: kernel "7.3-debug" names the flavour debug itself',
    ],
    [
      'the same kernel twice',
      { kernels: ['7.3', '7.3'] },
      'kernels[1]: "7.3" gives the cell 7.3, as "7.3" does',
    ],
    [
      'the same parameters twice',
      { kernels: ['7.3'], parameters: ['a=1', ' a=1'] },
      'gives the cell 7.3 a=1',
    ],
    [
      'an exclusion that is on no axis',
      { kernels: ['7.3'], exclude: [{ kernel: '7.2' }] },
      'exclude[0].kernel: "7.2" is none of "7.3"',
    ],
    [
      'an exclusion of everything',
      { kernels: ['7.3'], exclude: [{ kernel: '7.3' }] },
      'exclude: it leaves no cell',
    ],
  ])('%s is a usage error that names the field', (_what, config, message) => {
    expect(() => namesOf(config)).toThrow(
      expect.objectContaining({ exitCode: 2, message: expect.stringContaining(message) }),
    )
  })
})

describe('what each run of several is given', () => {
  test('has the parameters in one word, and the same seed', () => {
    const given = runArguments(['conversion'], {
      append: 'numa=fake=2 kvm_amd.npt=0',
      seed: '7',
      cold: false,
      freshVms: false,
    })

    expect(given).toEqual(
      expect.arrayContaining(['conversion', '--append=numa=fake=2 kvm_amd.npt=0', '--seed=7']),
    )
  })

  test.each(['compare', 'series', 'bisect', 'bisect-step'])('gmem %s takes --append', async (command) => {
    const { stdout } = await execa(process.execPath, [
      join(projectRoot, 'dist/cli/main.js'),
      command,
      '--help',
    ])

    expect(stdout).toContain('--append <parameters>')
  })
})

describe('how many cells run at once', () => {
  const gib = 2 ** 30

  test.each([
    ['two processors carry one', 2, 64, 50, 1],
    ['one file takes a VM of two processors', 8, 64, 1, 4],
    ['many files take eight VMs', 32, 64, 50, 4],
    ['memory may be scarcer than processors', 32, 13, 50, 1],
    ['there is always one', 1, 0.5, 50, 1],
  ])('%s', (_what, cores, memory, files, jobs) => {
    expect(defaultJobs(files, cores, memory * gib)).toBe(jobs)
  })
})
