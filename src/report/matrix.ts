// SPDX-License-Identifier: Apache-2.0
import { ExitCode } from '../errors.js'
import { worstOf } from './exit-code.js'
import type { TargetResult, TestResult } from './schema.js'
import { groupBy } from './values.js'

/** Where a cell is on the axes of its matrix. */
export interface CellPlace {
  /** Unique in a matrix, and the same in each run of it: `7.3-debug kvm_amd.npt=0`. */
  readonly name: string
  readonly kernel: string
  readonly flavour: string
  readonly parameters: string
  readonly accelerator: string
}

/** What came of some tests. */
export interface Counts {
  /** Known issues included, as in a target's result. */
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  readonly knownIssues: number
  /** Tests that passed when they were tried again. */
  readonly flaky: number
  /** Splats that no allow file covers. */
  readonly splats: number
  readonly durationMs: number
}

/** One test file of one cell. */
export interface FamilyCounts extends Counts {
  readonly file: string
}

/** A cell as it ended. */
export interface MatrixCell extends CellPlace {
  /**
   * `tested`: to the end. `interrupted`: it was stopped; what it had by then is counted. `not-built`: there is no kernel. `not-run`: gmem
   * test gave no result.
   */
  readonly state: 'tested' | 'interrupted' | 'not-built' | 'not-run'
  /** Why it is not `tested`, for people; null where it is. */
  readonly reason: string | null
  /** A build log, or all that gmem test printed; null where there is none. */
  readonly log: string | null
  /** uname -r; '' where nothing ran. */
  readonly release: string
  /** What its VMs really ran on; '' where nothing ran. */
  readonly accel: string
  readonly counts: Counts
  /** By file name. */
  readonly families: readonly FamilyCounts[]
  /** The kernel died so often. */
  readonly deaths: number
  /** What gmem test exited with, or what the state asks for. */
  readonly exitCode: ExitCode
  /** Holds result.json with every test, and the consoles; null where nothing ran. */
  readonly folder: string | null
}

/** Which tests ran: two runs of a matrix can be compared only where it is the same. */
export interface Selection {
  readonly files: readonly string[]
  readonly tests: string | null
  readonly all: boolean
}

/** A run of a matrix: what `gmem matrix --json` prints. */
export interface MatrixResult {
  readonly format: 1
  readonly startedAt: string
  readonly durationMs: number
  readonly config: string
  readonly folder: string
  readonly selection: Selection
  readonly cells: readonly MatrixCell[]
  readonly exitCode: ExitCode
}

/** A cell that a run gave a result for. */
export function testedCell(
  place: CellPlace,
  target: TargetResult,
  about: Pick<MatrixCell, 'state' | 'reason' | 'exitCode' | 'folder'>,
): MatrixCell {
  const { release, accel, deaths } = target
  return {
    ...placeOf(place),
    ...about,
    log: null,
    release,
    accel,
    counts: countsOf(target.tests, target.durationMs),
    families: familiesOf(target),
    deaths: deaths.length,
  }
}

/** A cell of which nothing ran. */
export function emptyCell(
  place: CellPlace,
  about: Pick<MatrixCell, 'state' | 'reason' | 'exitCode' | 'log'>,
): MatrixCell {
  const counts = countsOf([], 0)
  return {
    ...placeOf(place),
    ...about,
    release: '',
    accel: '',
    counts,
    families: [],
    deaths: 0,
    folder: null,
  }
}

/** The most serious of the cells' codes. 4, all skipped, only where that is so in every cell that ran. */
export function matrixExitCode(cells: readonly MatrixCell[]): ExitCode {
  const codes = new Set(cells.map(({ exitCode }) => exitCode))
  if (codes.size > 1) codes.delete(ExitCode.allSkipped)
  return worstOf(codes)
}

/** Whether a person should look at it. */
export function isBadCell({ exitCode }: MatrixCell): boolean {
  return exitCode !== ExitCode.ok && exitCode !== ExitCode.allSkipped
}

/** The files of all cells, by name. */
export function familyFiles(cells: readonly MatrixCell[]): string[] {
  return [...new Set(cells.flatMap(({ families }) => families.map(({ file }) => file)))].sort()
}

/** `tests/kernel/punch-hole.test.ts` as people call it: `punch-hole`. */
export function familyName(file: string): string {
  return file.replace(/^.*\//, '').replace(/\.test\.ts$/, '')
}

function placeOf({ name, kernel, flavour, parameters, accelerator }: CellPlace): CellPlace {
  return { name, kernel, flavour, parameters, accelerator }
}

function familiesOf({ tests, files }: TargetResult): FamilyCounts[] {
  const times = new Map(files.map(({ file, durationMs }) => [file, durationMs]))
  return [...groupBy(tests, ({ file }) => file)]
    .map(([file, own]) => ({ file, ...countsOf(own, times.get(file) ?? 0) }))
    .sort((a, b) => (a.file < b.file ? -1 : 1))
}

function countsOf(tests: readonly TestResult[], durationMs: number): Counts {
  const count = (matches: (test: TestResult) => boolean): number => tests.filter(matches).length
  return {
    passed: count(({ status }) => status === 'passed' || status === 'known-issue'),
    failed: count(({ status }) => status === 'failed'),
    skipped: count(({ status }) => status === 'skipped'),
    knownIssues: count(({ status }) => status === 'known-issue'),
    flaky: count(({ flaky, status }) => flaky === true && status !== 'failed'),
    splats: tests.flatMap(({ splats = [] }) => splats).filter(({ allowed }) => allowed === undefined).length,
    durationMs,
  }
}
