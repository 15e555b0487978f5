// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import type { MatrixResult } from '../../src/report/matrix.js'
import { type GmemRun, until } from './support/run-gmem.js'
import { setUpSmallProject } from './support/small-project.js'

/** For two VMs that boot one after the other, on a machine that does other things too, in ms. */
const MATRIX_MS_MAX = 900_000
/** Without nested paging KVM has no SW_PROTECTED VMs: a parameter of a module that every test of the contract can see. */
const PARAMETERS = 'kvm_amd.npt=0 kvm_intel.ept=0'

const small = setUpSmallProject()

/** Writes gmem.config.ts, as a person would: a cell as the kernel comes, and one with parameters. */
function configure(files: readonly string[], more = ''): void {
  const fields = `kernels: [${JSON.stringify(small.image)}], parameters: ['', '${PARAMETERS}'], files: ${JSON.stringify(files)}, ${more}`
  const text = `import { defineMatrix } from 'gmem/config'\nexport default defineMatrix({ ${fields} })\n`
  writeFileSync(join(small.box.path, 'gmem.config.ts'), text)
}

function storedResult(folder: string): MatrixResult {
  return JSON.parse(readFileSync(join(small.box.path, folder, 'matrix.json'), 'utf8'))
}

describe('a matrix of two cells, with a test that fails in the first and is skipped in the second', () => {
  let run: GmemRun
  let result: MatrixResult
  let page: string

  beforeAll(async () => {
    configure(['wrong-byte'])
    run = await small.box.run(['matrix', '-o', 'out', '--html', 'page.html', '--json=out.json'])
    result = JSON.parse(readFileSync(join(small.box.path, 'out.json'), 'utf8'))
    page = readFileSync(join(small.box.path, 'page.html'), 'utf8')
  }, MATRIX_MS_MAX)

  test('counts what each says: the parameters reach the modules of KVM', () => {
    const cells = result.cells.map(({ parameters, state, counts: { passed, failed, skipped }, exitCode }) => [
      parameters,
      state,
      [passed, failed, skipped],
      exitCode,
    ])

    expect(cells).toEqual([
      ['', 'tested', [1, 1, 0], 1],
      [PARAMETERS, 'tested', [1, 0, 1], 0],
    ])
  })

  test('prints a table and one line that says it all, and exits with the code of its worst cell', () => {
    expect(run.stdout).toMatch(/^cell +accel +passed +failed +skipped +known issues +splats +time$/m)
    expect(run.stdout).toContain('✗ wrong-byte.test.ts  expects a wrong byte after a conversion')
    expect(run.lastLine).toMatch(/^2 cells: 1 good, 1 bad · /)
    expect(run.exitCode).toBe(1)
    expect(result.exitCode).toBe(1)
  })

  test('has a page with both cells, the failure and the reason of the skip', () => {
    expect(page).toContain('2 cells: 1 good, 1 bad')
    expect(page).toContain('expects a wrong byte after a conversion')
    expect(page).toContain('got 0x0 at gpa 0x10003000, wanted 0xaa')
    expect(page).toContain('needs VM type SW_PROTECTED')
    expect(page).toBe(readFileSync(join(small.box.path, 'out', 'matrix.html'), 'utf8'))
  })

  test("keeps each cell's result where it says, and the run for later ones", () => {
    const [first] = result.cells

    expect(readdirSync(first?.folder ?? '')).toEqual(expect.arrayContaining(['result.json', 'output.txt']))
    expect(storedResult('out')).toEqual(result)
    expect(readdirSync(join(small.box.cache, 'matrix'))).toHaveLength(1)
  })
})

test('Ctrl-C keeps what the cell that ran had by then, and leaves nothing running', {
  timeout: MATRIX_MS_MAX,
}, async () => {
  configure(['long'])
  const gmem = small.box.start(['matrix', '--jobs', '1', '-o', 'stopped'])
  await until('the long test to run', () => (consoles('stopped').includes('the long one runs') ? true : null))

  gmem.kill('SIGINT')
  const { exitCode, lastLine } = await gmem.ended

  const { cells } = storedResult('stopped')
  expect(cells.map(({ state, counts }) => [state, counts.passed, counts.failed])).toEqual([
    ['interrupted', 1, 0],
    ['not-run', 0, 0],
  ])
  expect(readFileSync(join(small.box.path, 'stopped', 'matrix.html'), 'utf8')).toContain('interrupted')
  expect(lastLine).toMatch(/^2 cells: 0 good, 1 interrupted, 1 not run · /)
  expect(exitCode).toBe(130)
})

test('--list names the cells and runs nothing', async () => {
  configure(['passes'])
  const listed = await small.box.run(['matrix', '--list'])

  expect(listed.stdout.split('\n')).toEqual([small.image, `${small.image} ${PARAMETERS}`])
  expect(listed.exitCode).toBe(0)
})

test.each([
  [
    'a field that is none',
    ['matrix'],
    "flavors: ['plain']",
    'gmem.config.ts: flavors: there is no such field',
  ],
  ['a file that is no test', ['matrix'], "files: ['none']", 'no test file matches "none"'],
  ['a folder that is not there', ['matrix', '--html', 'no/page.html'], '', '--html=no/page.html: the folder'],
  ['no configuration', ['matrix', '--config', 'none.ts'], '', 'there is no '],
])('%s is exit code 2 before anything starts', async (_what, args, more, message) => {
  configure(['passes'], more)

  const { exitCode, stderr } = await small.box.run(args)

  expect(stderr).toContain(message)
  expect(exitCode).toBe(2)
})

function consoles(folder: string): string {
  const root = join(small.box.path, folder)
  try {
    const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
    return files
      .filter((file) => /console-.*\.log$/.test(file))
      .map((file) => readFileSync(join(root, file), 'utf8'))
      .join('\n')
  } catch {
    return ''
  }
}
