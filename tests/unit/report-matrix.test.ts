// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { ExitCode } from '../../src/errors.js'
import {
  emptyCell,
  type MatrixCell,
  type MatrixResult,
  matrixExitCode,
  testedCell,
} from '../../src/report/matrix.js'
import { consoleExcerpts } from '../../src/report/matrix-consoles.js'
import { earlierRuns, keepInHistory } from '../../src/report/matrix-history.js'
import { matrixHtml } from '../../src/report/matrix-html.js'
import { attribute, block, breakable, text } from '../../src/report/matrix-markup.js'
import { matrixLines } from '../../src/report/matrix-text.js'
import { outcomes, trend } from '../../src/report/matrix-trend.js'
import type { TestResult } from '../../src/report/schema.js'
import { coloursFor } from '../../src/report/style.js'
import { exampleRun, exampleTarget, passed } from './report-example.js'

const EVIL = '"><script>alert(1)</script>&'
const place = (name: string) => ({
  name,
  kernel: '7.3',
  flavour: 'plain',
  parameters: '',
  accelerator: 'auto',
})
const tests = exampleRun().targets[0]?.tests ?? []
const FILE = 'tests/kernel/conversion.test.ts'

function tested(name: string, of: TestResult[], exitCode: ExitCode = ExitCode.ok): MatrixCell {
  const about = { state: 'tested', reason: null, exitCode, folder: `/runs/${name}` } as const
  return testedCell(place(name), exampleTarget('7.3', of), about)
}

function unbuilt(name: string): MatrixCell {
  const about = {
    state: 'not-built',
    reason: `it does not build:\n${EVIL}`,
    exitCode: ExitCode.buildFailed,
  } as const
  return emptyCell(place(name), { ...about, log: '/runs/build.log' })
}

function matrixOf(cells: MatrixCell[], startedAt = '2026-11-21T09:12:30.123Z'): MatrixResult {
  return {
    format: 1,
    startedAt,
    durationMs: 65_000,
    config: '/work/gmem.config.ts',
    folder: '/runs',
    selection: { files: [], tests: null, all: false },
    cells,
    exitCode: matrixExitCode(cells),
  }
}

describe('a cell', () => {
  test('counts its tests, and those of each family', () => {
    const cell = tested('7.3', tests)

    expect(cell.counts).toEqual({
      passed: 3,
      failed: 3,
      skipped: 1,
      knownIssues: 1,
      flaky: 1,
      splats: 1,
      durationMs: 3100,
    })
    expect(cell.families).toEqual([{ ...cell.counts, file: FILE, durationMs: 2100 }])
  })
})

describe('the exit code of a matrix', () => {
  const cell = (exitCode: ExitCode): MatrixCell => tested('x', [], exitCode)

  test.each<[string, ExitCode[], ExitCode]>([
    ['that of its worst cell', [ExitCode.ok, ExitCode.testFailed, ExitCode.splat], ExitCode.testFailed],
    [
      '125 where a kernel did not build, though a test failed',
      [ExitCode.testFailed, ExitCode.buildFailed],
      ExitCode.buildFailed,
    ],
    ['130 where it was interrupted', [ExitCode.interrupted, ExitCode.buildFailed], ExitCode.interrupted],
    [
      '4 where every cell skipped everything',
      [ExitCode.allSkipped, ExitCode.allSkipped],
      ExitCode.allSkipped,
    ],
    ['0 where only some cells did', [ExitCode.allSkipped, ExitCode.ok], ExitCode.ok],
  ])('is %s', (_what, codes, expected) => {
    expect(matrixExitCode(codes.map(cell))).toBe(expected)
  })
})

describe('the table', () => {
  const cells = [
    tested('7.3', tests, ExitCode.testFailed),
    tested('7.3 numa=fake=2', [passed('fd', 'dup')]),
    unbuilt('tree'),
  ]
  const failures = new Map([['7.3', tests.filter(({ status }) => status === 'failed')]])
  const lines = matrixLines(matrixOf(cells), '/runs/matrix.html', failures, coloursFor({}, {}), 100)

  test('has a line for each cell', () => {
    expect(lines.slice(0, 4)).toEqual([
      'cell             accel  passed  failed  skipped  known issues  splats    time',
      '7.3              tcg         3       3        1             1       1  3.10 s',
      '7.3 numa=fake=2  tcg         1       0        0             0       0  3.10 s',
      'tree             ·           ·       ·        ·             ·       ·       ·  not built',
    ])
  })

  test('is followed by what failed and why, the page, and one line that says it all', () => {
    expect(lines).toContain('  ✗ conversion.test.ts  closing the file while the VM dies')
    expect(lines).toContain('      the kernel printed a splat')
    expect(lines).toContain('  it does not build:')
    expect(lines).toContain('  log: /runs/build.log')
    expect(lines.at(-2)).toBe('every test, splat and console: /runs/matrix.html')
    expect(lines.at(-1)).toBe('3 cells: 1 good, 1 bad, 1 not built · 65.0 s')
  })
})

describe('the page', () => {
  const evil: TestResult = {
    file: FILE,
    name: `shows ${EVIL}`,
    status: 'failed',
    failure: 'splat',
    durationMs: 1,
    error: { name: 'KernelSplat', message: `${EVIL} \u001b[31mred\u0000`, diff: EVIL, trace: [EVIL] },
    splats: [{ kind: EVIL, title: EVIL, text: `${EVIL}\n <TASK>` }],
    knownIssue: { id: EVIL, symptom: EVIL, expected: EVIL, seen: EVIL },
  }
  const skip: TestResult = { file: FILE, name: EVIL, status: 'skipped', reason: EVIL, durationMs: 0 }
  const bad = tested(`7.3 ${EVIL}`, [...tests, evil, skip], ExitCode.kernelDied)
  const cells = [bad, tested('7.2', [passed('fd', 'dup')]), unbuilt('tree')]
  const consoles = [{ file: 'console-7.3-1.log', test: evil.name, text: `Kernel panic ${EVIL}` }]
  const details = new Map([[bad.name, { tests: [...tests, evil, skip], consoles }]])
  const earlier = matrixOf([tested(bad.name, [passed('fd', 'dup')])], '2026-11-20T00:00:00.000Z')
  const page = matrixHtml(matrixOf(cells), details, [earlier])

  test.each([
    ['the verdict', '3 cells: 1 good, 1 bad, 1 not built'],
    ['a known issue', '<b class=known>F1</b> SIGKILL waits for the whole range'],
    ['the message of a failure', '<pre>expected 0xaa to be 0x0'],
    ['its diff', '- 0x0\n+ 0xaa'],
    ['its kernel calls', '#1 +0.1ms vm#1.setMemoryAttributes'],
    [
      'the text of a splat',
      'WARNING: virt/kvm/guest_memfd.c:512 at kvm_gmem_release\nCall Trace:\n &lt;TASK&gt;',
    ],
    ['the reason of a skip', 'needs VM type SNP: KVM_CAP_VM_TYPES reports only DEFAULT, SW_PROTECTED'],
    [
      'the console of a kernel that died, at its test',
      'console-7.3-1.log, where the kernel died during “shows &quot;'.replace('&quot;', '"'),
    ],
    ['why there is no kernel', 'it does not build:\n'],
    ['the log', 'log: /runs/build.log'],
    ['earlier runs', 'aria-label="2 runs, 1 bad"'],
  ])('has %s', (_what, text) => {
    expect(page).toContain(text)
  })

  test('escapes whatever a kernel, a test or a configuration says', () => {
    expect(page).not.toContain('<script')
    expect(page).not.toContain('\u0000')
    expect(page).not.toContain('\u001b')
    expect(page).toContain('aria-label="conversion on 7.3 &quot;&gt;&lt;script&gt;')
    expect(page.match(/&lt;script&gt;alert\(1\)&lt;\/script&gt;&amp;/g)?.length).toBeGreaterThan(10)
  })

  test('needs nothing from outside', () => {
    expect(page).not.toMatch(/https?:|\bsrc=|url\(|@import|<link/)
  })

  test('leads from each family of each cell to its tests', () => {
    const targets = [...page.matchAll(/href="#([^"]+)"/g)].map(([, id]) => id)
    const ids = [...page.matchAll(/ id=(\w+)/g)].map(([, id]) => id)

    expect(targets).toContain('c0f0')
    expect(targets.filter((id) => !ids.includes(id ?? ''))).toEqual([])
    expect(new Set(ids).size).toBe(ids.length)
  })

  test('closes what it opens', () => {
    for (const tag of [
      'details',
      'summary',
      'section',
      'article',
      'div',
      'pre',
      'span',
      'a',
      'svg',
      'table',
      'ul',
    ]) {
      const opened = page.match(new RegExp(`<${tag}[ >]`, 'g'))?.length ?? 0
      expect([tag, page.match(new RegExp(`</${tag}>`, 'g'))?.length ?? 0]).toEqual([tag, opened])
    }
  })
})

describe('text on the page', () => {
  test('keeps its quotes inside an attribute', () => {
    expect(attribute('a "b" <c> & d')).toBe('"a &quot;b&quot; &lt;c&gt; &amp; d"')
  })

  test('shows control characters, but for those of a terminal and of a line end', () => {
    expect(text('a\u0000b\u0007 \u001b[31mred\u001b[0m\r\n\tend')).toBe('a\ufffdb\ufffd red\n\tend')
  })

  test('loses its middle where it is too long', () => {
    expect(block('1\n2\n3\n4\n5\n6\n', 4)).toBe('<pre>1\n… 2 lines more …\n4\n5\n6</pre>')
  })

  test('may be broken at the joints of a name, not inside a version', () => {
    expect(breakable('7.3+write kvm.npt=0')).toBe('7.3+<wbr>write kvm.<wbr>npt=<wbr>0')
  })
})

describe('a trend', () => {
  const run = (...cells: MatrixCell[]): MatrixResult => matrixOf(cells)
  const good = tested('7.3', [passed('fd', 'dup')])
  const bad = tested('7.3', tests, ExitCode.testFailed)

  test('has each run since the first that had the cell', () => {
    const runs = [run(unbuilt('other')), run(good), run(bad), run(unbuilt('other')), run(unbuilt('7.3'))]

    expect(outcomes('7.3', runs)).toEqual(['good', 'bad', 'none', 'bad'])
    expect(outcomes('7.3', runs, FILE)).toEqual(['none', 'bad', 'none', 'bad'])
  })

  test('tells good from bad by height, too', () => {
    expect(trend(['good', 'bad'])).toContain(
      '<path class=good d="M0 6h3v8h-3z"/><path class=bad d="M4 0h3v14h-3z"/>',
    )
  })

  test('is nothing for a single run', () => {
    expect(trend(['good'])).toBe('')
  })
})

describe('with a folder of its own', () => {
  let folder: string

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-matrix-`))
    vi.stubEnv('GMEM_CACHE', folder)
  })
  afterEach(() => {
    vi.unstubAllEnvs()
    rmSync(folder, { recursive: true, force: true })
  })

  test('the history gives back earlier runs of the same tests, and is bounded', async () => {
    const at = (minute: number): string => new Date(Date.UTC(2026, 10, 21, 9, minute)).toISOString()
    const other = { files: ['conversion'], tests: null, all: false }
    await keepInHistory({ ...matrixOf([], at(110)), selection: other })
    for (let minute = 0; minute < 105; minute++) await keepInHistory(matrixOf([], at(minute)))
    writeFileSync(join(folder, 'matrix', '2026-11-21T08-00-00.000Z-1.json'), 'no JSON')

    const runs = await earlierRuns(matrixOf([], at(100)))

    expect(runs.map(({ startedAt }) => startedAt)).toEqual(Array.from({ length: 20 }, (_, n) => at(80 + n)))
    expect(readdirSync(join(folder, 'matrix')).length).toBeLessThanOrEqual(101)
  })

  test('consoles are those of dead kernels, then those that say more than every VM does', async () => {
    const dead = join(folder, 'console-7.3-2.log')
    writeFileSync(
      join(folder, 'console-7.3-1.log'),
      '[ 0.0] Kernel compiled without mitigations\r\ngmem-init: the worker ended with 0\r\n',
    )
    writeFileSync(dead, `${'x\n'.repeat(20_000)}[ 1.0] Kernel panic\r\n`)
    writeFileSync(join(folder, 'console-7.3-3.log'), '[ 2.0] WARNING: at kvm\r\n')
    const deaths = [{ message: 'died', test: 'one', console: dead }]

    const excerpts = await consoleExcerpts(folder, { ...exampleTarget('7.3', []), deaths })

    expect(excerpts.map(({ file, test: name }) => [file, name])).toEqual([
      ['console-7.3-2.log', 'one'],
      ['console-7.3-3.log', null],
    ])
    expect(excerpts[0]?.text).toMatch(/^(x\n){59}\[ 1\.0\] Kernel panic$/)
  })
})
