// SPDX-License-Identifier: Apache-2.0
import type {
  Reporter,
  SerializedError,
  TestCase,
  TestModule,
  TestRunEndReason,
  TestSpecification,
} from 'vitest/node'
import type { TargetEvent, TargetInfo } from './events.js'
import { exitCodeOf } from './exit-code.js'
import { moduleResults, type Reading, type TestFilter, unstartedFile } from './model.js'
import { projectPath, reportedError } from './reported-error.js'
import type { ReportedSplat, RunError, RunResult, TargetResult, TestResult } from './schema.js'
import type { Shard } from './shard.js'
import { byFile, testCounts } from './test-counts.js'

export interface RecorderOptions {
  readonly targets: readonly TargetInfo[]
  /** Project root, absolute: file names in the result are relative to it. */
  readonly root: string
  readonly seed: number
  /** Absolute path of this run's folder. */
  readonly artefacts: string
  readonly filter: TestFilter
  readonly failOnSkip: boolean
  /** Which part of the test files runs; left out: all. */
  readonly shard?: Shard | undefined
  /** Adds source lines to the splats of a target, in place, where they can be had. */
  readonly decode?: (target: string, splats: readonly ReportedSplat[]) => Promise<void>
  /** Called with the result of every finished run; more than once in watch mode. */
  readonly onResult: (run: RunResult) => void | Promise<void>
}

export interface FileRecord {
  readonly target: string
  readonly file: string
  readonly durationMs: number
  readonly tests: TestResult[]
}

/** What is known of one target while it runs. */
interface TargetState extends Pick<TargetResult, 'accel' | 'accelWhy' | 'bootMs' | 'restored' | 'deaths'> {
  readonly info: TargetInfo
  firstResultMs: number | null
  endedMs: number | null
}

/**
 * A vitest reporter that prints nothing: it makes the RunResult that every other report is written from, so that they
 * cannot disagree.
 */
export class RunRecorder implements Reporter {
  /** The test files that run. */
  specifications: readonly TestSpecification[] = []
  readonly #targets: ReadonlyMap<string, TargetState>
  readonly #errors: RunError[] = []
  /** The results of each file, by target and file: kept here so that an interrupted run still has what it had. */
  readonly #files = new Map<string, FileRecord>()
  readonly #loadedAtMs = new Map<string, number>()
  #startedAt = new Date(performance.timeOrigin)
  #startedMs = 0
  #isFirstRun = true

  constructor(readonly options: RecorderOptions) {
    this.#targets = new Map(options.targets.map((info) => [info.id, newState(info)]))
  }

  onTestRunStart(specifications: readonly TestSpecification[]): void {
    if (!this.#isFirstRun) this.#reset()
    this.#isFirstRun = false
    this.specifications = specifications
  }

  onTestModuleQueued(module: TestModule): void {
    this.#loadedAtMs.set(fileKey(module.project.name, module.moduleId), performance.now())
  }

  onTestCaseResult(test: TestCase): void {
    const state = this.#targets.get(test.project.name)
    if (state && test.result().state !== 'skipped')
      state.firstResultMs ??= Math.round(performance.now() - this.#startedMs)
  }

  async onTestModuleEnd(module: TestModule): Promise<void> {
    const loadedAtMs =
      this.#loadedAtMs.get(fileKey(module.project.name, module.moduleId)) ?? performance.now()
    const tests = moduleResults(module, this.reading)
    // Kept first: other reporters ask for it at once.
    this.#keep(module.project.name, module.moduleId, tests, performance.now() - loadedAtMs)
    const splats = tests.flatMap((test) => test.splats ?? [])
    if (splats.length > 0) await this.options.decode?.(module.project.name, splats)
  }

  /** The record of a file that has ended. */
  fileRecord(module: TestModule): FileRecord | undefined {
    return this.#files.get(fileKey(module.project.name, module.moduleId))
  }

  async onTestRunEnd(
    modules: readonly TestModule[],
    unhandled: readonly SerializedError[],
    reason: TestRunEndReason,
  ): Promise<void> {
    if (reason === 'interrupted') this.interrupted()
    // Once a run is stopped, workers vanish on purpose.
    if (!this.#wasCutShort) this.#errors.push(...unhandled.map((error) => this.#runError(error)))
    this.#addUnfinished(modules)
    await this.options.onResult(this.result())
  }

  /** What a pool, or whoever starts a target, has to say. */
  onTargetEvent(id: string, event: TargetEvent): void {
    const state = this.#targets.get(id)
    if (!state) return
    if (event.type === 'accelerator') Object.assign(state, { accel: event.accel, accelWhy: event.why })
    if (event.type === 'booted' && state.bootMs === null) {
      Object.assign(state, { bootMs: Math.round(event.ms), restored: event.restored })
    }
    if (event.type === 'death') {
      const { message, test, console } = event
      state.deaths.push({ message, ...(test && { test }), ...(console && { console }) })
    }
  }

  /** Adds an error that belongs to no test. */
  addError(kind: RunError['kind'], error: RunError['error']): void {
    this.#errors.push({ kind, error })
  }

  /** Notes that the run was stopped from outside: tests without a result are no failures from here on. */
  interrupted(): void {
    if (this.#wasCutShort) return
    this.addError('interrupted', {
      name: 'Interrupted',
      message: 'the run was interrupted; what it had is reported',
    })
  }

  /** The run so far. */
  result(): RunResult {
    const targets = [...this.#targets.values()].map((state) => this.#targetResult(state))
    const sum = (key: 'passed' | 'failed' | 'skipped'): number =>
      targets.reduce((total, target) => total + target[key], 0)
    const run = {
      format: 1 as const,
      startedAt: this.#startedAt.toISOString(),
      durationMs: Math.round(performance.now() - this.#startedMs),
      seed: this.options.seed,
      ...(this.options.shard && { shard: { ...this.options.shard } }),
      artefacts: this.options.artefacts,
      passed: sum('passed'),
      failed: sum('failed'),
      skipped: sum('skipped'),
      errors: [...this.#errors],
      targets,
    }
    return { ...run, exitCode: exitCodeOf(run, this.options.failOnSkip) }
  }

  #targetResult(state: TargetState): TargetResult {
    const { info, endedMs, ...known } = state
    const files = [...this.#files.values()].filter((file) => file.target === info.id)
    const tests = files.flatMap((file) => file.tests)
    return {
      ...info,
      ...known,
      ...testCounts(tests),
      durationMs: endedMs === null ? 0 : Math.round(endedMs - this.#startedMs),
      files: files.map(({ file, durationMs }) => ({ file, durationMs })),
      tests: tests.sort(byFile),
    }
  }

  get #wasCutShort(): boolean {
    return this.#errors.some(({ kind }) => kind === 'interrupted' || kind === 'deadline')
  }

  /** How to read what vitest says at this moment. */
  get reading(): Reading {
    return { root: this.options.root, filter: this.options.filter, cutShort: this.#wasCutShort }
  }

  #keep(target: string, moduleId: string, tests: TestResult[], durationMs: number): void {
    const file = projectPath(moduleId, this.options.root)
    this.#files.set(fileKey(target, moduleId), { target, file, tests, durationMs: Math.round(durationMs) })
    const state = this.#targets.get(target)
    if (state) state.endedMs = performance.now()
  }

  /** A file whose worker vanished or never came, or that a cancelled run did not get to, is a result too. */
  #addUnfinished(modules: readonly TestModule[]): void {
    for (const module of modules) {
      if (!this.fileRecord(module)) this.onTestModuleEnd(module)
    }
    for (const { project, moduleId } of this.specifications) {
      if (this.#files.has(fileKey(project.name, moduleId))) continue
      const file = projectPath(moduleId, this.options.root)
      this.#keep(project.name, moduleId, [unstartedFile(file, this.#wasCutShort)], 0)
    }
  }

  /** A dead kernel and a hung guest have exit codes of their own; what a test let loose is the test's. */
  #runError(error: SerializedError): RunError {
    const reported = reportedError(error, undefined, this.options.root)
    if (error.name === 'GuestHang') return { kind: 'deadline', error: reported }
    const isWorkerDeath = /^\[vitest-pool\]: Worker forks /.test(error.message)
    const isOfTests = error.name === 'GuestDied' || isWorkerDeath || 'VITEST_TEST_PATH' in error
    return { kind: isOfTests ? 'unhandled' : 'infrastructure', error: reported }
  }

  /** A re-run in watch mode is a run of its own. */
  #reset(): void {
    this.#startedAt = new Date()
    this.#startedMs = performance.now()
    this.#errors.length = 0
    this.#files.clear()
    this.#loadedAtMs.clear()
    for (const state of this.#targets.values()) {
      state.firstResultMs = null
      state.endedMs = null
      state.deaths.length = 0
    }
  }
}

function newState(info: TargetInfo): TargetState {
  return {
    info,
    accel: 'unknown',
    accelWhy: 'no VM of it ever started',
    bootMs: null,
    restored: null,
    firstResultMs: null,
    endedMs: null,
    deaths: [],
  }
}

function fileKey(target: string, moduleId: string): string {
  return `${target}\0${moduleId}`
}
