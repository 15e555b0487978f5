// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ExitCode, GmemError } from '../errors.js'
import { COVERAGE_FOLDER } from '../kernels/install.js'
import { resolveKernel } from '../kernels/resolve.js'
import { buildSelftests } from '../kernels/selftests.js'
import type { KernelImage } from '../kernels/types.js'
import { projectRoot } from '../paths.js'
import { createRunFolder } from '../report/artefacts.js'
import {
  CoverageCollector,
  coverageHtml,
  GcovReader,
  lcovOf,
  parseUnreachable,
  reachText,
  reportSubject,
  SUBJECTS,
  type SubjectReport,
  shareText,
} from '../report/coverage/index.js'
import { table } from '../report/style.js'
import { testKey } from '../report/test-counts.js'
import type { CliContext } from './context.js'
import { SLOW_FILE, TEST_FOLDER } from './test-files.js'
import { runTests } from './test-run.js'

export interface CoverageRequest {
  readonly kernel: string
  readonly filters: readonly string[]
  readonly selftests: boolean
  readonly all: boolean
  readonly accelerator: 'auto' | 'kvm' | 'tcg'
  readonly directory: string | undefined
  readonly json: boolean
}

/** Runs the tests on a kernel that counts, then reads what it counted. Returns what the process should exit with. */
export async function runCoverage(request: CoverageRequest, context: CliContext): Promise<ExitCode> {
  const { progress, signal } = context
  const kernel = await resolveKernel(request.kernel, { build: true, progress, signal })
  progress.end()
  const reader = new GcovReader(join(dirname(kernel.bzImage), COVERAGE_FOLDER))
  const unreachable = parseUnreachable(
    readFileSync(join(projectRoot, TEST_FOLDER, 'unreachable.txt'), 'utf8'),
  )
  const programs = request.selftests
    ? { tests: 'tests/selftests', folder: await buildSelftests(request.kernel, kernel, { progress, signal }) }
    : undefined
  const directory = await createRunFolder(request.directory)
  const collector = new CoverageCollector()
  const exitCode = await runTests(
    {
      ...DEFAULTS,
      filters: request.filters,
      kernels: [request.kernel],
      accelerator: request.accelerator,
      all: request.all,
      directory,
      ...(programs && { programs }),
      onCoverage: (test, objects) => collector.add(testKey(test), objects),
    },
    context,
  )
  if (signal.aborted) return ExitCode.interrupted
  const { tests } = collector
  if (tests.length === 0)
    throw new GmemError('no test ran, so there is nothing to count', { exitCode: ExitCode.allSkipped })
  progress.phase(`reading the counters of ${tests.length} tests`)
  const coverage = await collector.read(reader, (fraction) => progress.update({ fraction }))
  progress.end()
  const reports = SUBJECTS.map((subject) =>
    reportSubject(subject, coverage, sourceOf(kernel, subject.file), unreachable),
  )
  const out = join(directory, 'coverage')
  await mkdir(out, { recursive: true })
  const shares = reports.map(shareOf)
  const title = `${kernel.id} (${kernel.release}): what ${tests.length} tests reach`
  await Promise.all([
    writeFile(join(out, 'index.html'), coverageHtml(title, reports)),
    writeFile(join(out, 'lcov.info'), lcovOf(coverage, join(dirname(kernel.bzImage), COVERAGE_FOLDER))),
    writeFile(join(out, 'reach.json'), reachText(kernel.release, tests, coverage, isSlow)),
    writeFile(join(out, 'coverage.json'), `${JSON.stringify(shares, null, 2)}\n`),
  ])
  if (request.json) process.stdout.write(`${JSON.stringify(shares, null, 2)}\n`)
  else process.stdout.write(`\n${summaryLines(reports).join('\n')}\n\n${join(out, 'index.html')}\n`)
  const refuted = reports.flatMap((report) => report.refuted)
  if (refuted.length > 0)
    process.stderr.write(`\n${TEST_FOLDER}/unreachable.txt is wrong:\n  ${refuted.join('\n  ')}\n`)
  return exitCode
}

/** How the contract runs here: nothing that concerns its own verdict is different from `gmem test`. */
const DEFAULTS = {
  host: false,
  cold: false,
  freshVms: false,
  watch: false,
  splats: 'fail',
  leaks: 'fail',
  allow: '',
  retries: 1,
  seed: 0,
  failOnSkip: false,
  outputs: { json: undefined, ktap: undefined, junit: undefined, github: false },
} as const

/** By its key. */
const isSlow = (test: string): boolean => test.includes(`${SLOW_FILE} > `)

function sourceOf(kernel: KernelImage, file: string): string {
  return readFileSync(join(dirname(kernel.bzImage), COVERAGE_FOLDER, file), 'utf8')
}

function shareOf({ subject, line, branch, apart }: SubjectReport): object {
  return { file: subject.file, what: subject.title, lines: line, branches: branch, outOfReach: apart }
}

function summaryLines(reports: readonly SubjectReport[]): string[] {
  const rows = reports.map(({ subject, line, branch, apart }) => [
    subject.title,
    subject.file,
    shareText(line),
    shareText(branch),
    `${apart.lines} lines, ${apart.branches} branches`,
  ])
  const titles = ['what', 'file', 'lines', 'branches', 'out of reach']
  return table(
    [titles, ...rows],
    titles.map(() => 'left'),
  )
}
