// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { Vitest } from 'vitest/node'
import { ExitCode, usageError } from '../errors.js'
import type { KernelImage } from '../kernels/types.js'
import { projectRoot } from '../paths.js'
import { createRunFolder, writeEnvironment, writeResult } from '../report/artefacts.js'
import type { TargetEvent } from '../report/events.js'
import { RunRecorder } from '../report/recorder.js'
import type { RunResult } from '../report/schema.js'
import { Screen } from '../report/screen.js'
import { TerminalReporter } from '../report/terminal.js'
import type { CliContext } from './context.js'
import { createEngine } from './engine.js'
import { checkOutputs, type Outputs, usesStdout, writeOutputs } from './outputs.js'
import { storedRequest } from './rerun-request.js'
import {
  hostProblem,
  hostTarget,
  kernelTarget,
  type Target,
  type TargetOptions,
  TEST_FOLDER,
} from './targets.js'

/** After Ctrl-C or a deadline, running tests get this long to end before the results so far are all there is, in ms. */
const STOP_MS_MAX = 5_000

/** `gmem test`, with every option decided. */
export interface TestRequest extends Omit<TargetOptions, 'runDir' | 'onEvent'> {
  /** Parts of file names; none is all. */
  readonly filters: readonly string[]
  readonly kernels: readonly string[]
  readonly host: boolean
  readonly namePattern?: RegExp | undefined
  readonly watch: boolean
  readonly workers?: number | undefined
  /** Limit of the whole run, in ms at full speed. */
  readonly deadlineMs?: number | undefined
  readonly failOnSkip: boolean
  readonly directory?: string | undefined
  readonly outputs: Outputs
}

/** Runs the contract on every target asked for, reports, and returns what the process should exit with. */
export async function runTests(request: TestRequest, context: CliContext): Promise<ExitCode> {
  checkFilters(request.filters)
  checkOutputs(request.outputs)
  const screen = new Screen(usesStdout(request.outputs) ? process.stderr : process.stdout)
  const runDir = await createRunFolder(request.directory)
  const run = new TestRun(request, context, screen, runDir)
  return await run.execute()
}

class TestRun {
  readonly #early: [string, TargetEvent][] = []
  #listener: ((id: string, event: TargetEvent) => void) | null = null
  #exitCode: ExitCode = ExitCode.ok
  #environment: Promise<void> = Promise.resolve()

  constructor(
    readonly request: TestRequest,
    readonly context: CliContext,
    readonly screen: Screen,
    readonly runDir: string,
  ) {}

  async execute(): Promise<ExitCode> {
    const targets = await this.#targets()
    try {
      return await this.#runOn(targets)
    } finally {
      await Promise.all(targets.map((target) => target.close()))
      await this.#environment
    }
  }

  async #targets(): Promise<Target[]> {
    const { request, screen } = this
    const options = { ...request, runDir: this.runDir, onEvent: this.#onEvent.bind(this) }
    const targets: Target[] = []
    const problem = request.host ? hostProblem() : null
    try {
      if (request.host && problem && request.kernels.length > 0) {
        screen.print(`host is left out: ${problem.message}. ${problem.hint}`)
      } else if (request.host) {
        targets.push(hostTarget(options))
      }
      for (const spec of new Set(request.kernels)) {
        const target = await kernelTarget(spec, options, this.context)
        targets.push(target)
        if (targets.some(({ info }) => info.id === target.info.id && info.kernel !== spec)) {
          throw usageError(`-k ${spec}: another kernel of this run has the same name, ${target.info.id}`)
        }
      }
      return targets
    } catch (error) {
      await Promise.all(targets.map((target) => target.close()))
      throw error
    }
  }

  async #runOn(targets: readonly Target[]): Promise<ExitCode> {
    const { request, screen } = this
    const recorder: RunRecorder = new RunRecorder({
      targets: targets.map(({ info }) => info),
      root: projectRoot,
      seed: request.seed,
      artefacts: this.runDir,
      filter: request.namePattern,
      failOnSkip: request.failOnSkip,
      onResult: async (result): Promise<void> => await this.#report(result, terminal),
    })
    const terminal: TerminalReporter = new TerminalReporter(screen, recorder)
    this.#listen((id, event) => {
      recorder.onTargetEvent(id, event)
      terminal.onTargetEvent(id, event)
    })
    terminal.start()
    if (targets.some(({ info }) => info.id === 'host')) {
      this.#onEvent('host', { type: 'accelerator', accel: 'host', why: "this machine's own /dev/kvm" })
    }
    const vitest = await createEngine({ ...request, targets, screen, reporters: [recorder, terminal] })
    this.#environment = this.#recordEnvironment(targets)
    const stop = this.#stopper(recorder)
    try {
      await Promise.race([vitest.start([...request.filters]), stop.requested.then(() => giveUp(vitest))])
      if (request.watch) await stop.requested
    } finally {
      stop.dispose()
    }
    if (!this.#reported) await this.#report(recorder.result(), terminal)
    await closeInTime(vitest)
    return this.#exitCode
  }

  #reported = false

  async #report(result: RunResult, terminal: TerminalReporter): Promise<void> {
    this.#reported = true
    this.#exitCode = result.exitCode as ExitCode
    const { namePattern, outputs } = this.request
    await writeResult(this.runDir, result)
    await writeOutputs(result, outputs, this.screen)
    terminal.printResult(result)
    if (
      namePattern &&
      result.targets.every((target) => target.tests.length === 0) &&
      result.errors.length === 0
    ) {
      throw usageError(`no test's name matches ${namePattern}`)
    }
  }

  /** Resolves `requested` when the run must end: interrupted, or past its deadline. */
  #stopper(recorder: RunRecorder): { requested: Promise<void>; dispose(): void } {
    const { deadlineMs, slowdown } = this.request
    const { signal } = this.context
    let timer: NodeJS.Timeout | undefined
    let onAbort = (): void => {}
    const requested = new Promise<void>((resolve) => {
      onAbort = () => {
        recorder.interrupted()
        resolve()
      }
      if (signal.aborted) onAbort()
      else signal.addEventListener('abort', onAbort, { once: true })
      if (deadlineMs === undefined) return
      const limitMs = deadlineMs * (slowdown ?? 1)
      timer = setTimeout(() => {
        const message = `the run was stopped at its deadline, ${limitMs / 1000} s`
        recorder.addError('deadline', { name: 'Deadline', message })
        resolve()
      }, limitMs)
    })
    const dispose = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
    return { requested, dispose }
  }

  async #recordEnvironment(targets: readonly Target[]): Promise<void> {
    const images = targets
      .map(({ kernel }) => kernel)
      .filter((kernel): kernel is KernelImage => kernel !== null)
    await writeEnvironment(this.runDir, storedRequest(this.request), images)
  }

  #onEvent(id: string, event: TargetEvent): void {
    if (this.#listener) this.#listener(id, event)
    else this.#early.push([id, event])
  }

  #listen(listener: (id: string, event: TargetEvent) => void): void {
    this.#listener = listener
    for (const [id, event] of this.#early.splice(0)) listener(id, event)
  }
}

/** Asks running tests to end; resolves when they have, or after a bound: then the results so far must do. */
async function giveUp(vitest: Vitest): Promise<void> {
  await Promise.race([vitest.cancelCurrentRun('keyboard-input'), delay(STOP_MS_MAX)])
}

async function closeInTime(vitest: Vitest): Promise<void> {
  await Promise.race([vitest.close(), delay(STOP_MS_MAX)])
}

async function delay(ms: number): Promise<void> {
  await new Promise<void>((resolve) => setTimeout(resolve, ms).unref())
}

/** vitest's own rule, asked before anything starts: a filter is a part of a file's path. */
function checkFilters(filters: readonly string[]): void {
  const folder = join(projectRoot, TEST_FOLDER)
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(TEST_FOLDER, name))
  for (const filter of filters) {
    const wanted = filter.startsWith('/') ? relative(projectRoot, filter) : filter
    if (files.some((file) => file.toLowerCase().includes(wanted.toLowerCase()))) continue
    const names = files.map((file) => relative(TEST_FOLDER, file).replace(/\.test\.ts$/, ''))
    throw usageError(`no test file matches "${filter}"`, `There are: ${names.sort().join(', ')}.`)
  }
}
