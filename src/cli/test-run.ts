// SPDX-License-Identifier: Apache-2.0
import type { TestSpecification } from 'vitest/node'
import { ExitCode, GmemError, usageError } from '../errors.js'
import type { KernelImage } from '../kernels/types.js'
import { projectRoot } from '../paths.js'
import { createRunFolder, writeEnvironment, writeResult } from '../report/artefacts.js'
import { RunRecorder } from '../report/recorder.js'
import type { RunResult } from '../report/schema.js'
import { Screen } from '../report/screen.js'
import { type Shard, shardText } from '../report/shard.js'
import { TerminalReporter } from '../report/terminal.js'
import { plural } from '../report/values.js'
import type { CliContext } from './context.js'
import { createDecoding } from './decoding.js'
import { createEngine } from './engine.js'
import { checkOutputs, type Outputs, usesStdout, writeOutputs } from './outputs.js'
import { storedRequest } from './rerun-request.js'
import { closeInTime, createStopper, giveUp } from './stopping.js'
import { TargetEvents } from './target-events.js'
import {
  findKernels,
  hostProblem,
  hostTarget,
  kernelTarget,
  type Target,
  type TargetOptions,
} from './targets.js'
import { checkFilters } from './test-files.js'

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
  /** Which part of the test files; left out: all. */
  readonly shard?: Shard | undefined
  readonly directory?: string | undefined
  readonly outputs: Outputs
}

/** Runs the contract on every target asked for, reports, and returns what the process should exit with. */
export async function runTests(request: TestRequest, context: CliContext): Promise<ExitCode> {
  if (request.shard && request.watch) {
    throw usageError('--shard and --watch do not go together', 'A part is run once: leave out --watch.')
  }
  const slow = checkFilters(request)
  checkOutputs(request.outputs)
  // Before a kernel is built, which takes minutes.
  if (request.kernels.length > 0) (await import('../qemu/binary.js')).locateQemu()
  const screen = new Screen(usesStdout(request.outputs) ? process.stderr : process.stdout)
  const kernels = await findKernels(request.kernels, context)
  const host = request.host && isHostUsable(kernels.length > 0, screen)
  const runDir = await createRunFolder(request.directory)
  if (slow > 0)
    screen.print(`${slow} slow test ${slow === 1 ? 'file is' : 'files are'} left out: --all runs them, too`)
  const events = new TargetEvents()
  const options = { ...request, runDir, onEvent: events.emit }
  const targets = host ? [hostTarget(options)] : []
  const run = new TestRun(request, context, { screen, runDir, events })
  try {
    for (const kernel of kernels) targets.push(await kernelTarget(kernel, options))
    return await run.on(targets)
  } finally {
    await run.environmentWritten
    const isClosed = await closeInTime(targets.map((target) => target.close()))
    // A VM that is being booted or saved dies with this process (see setpriv in src/qemu), and all results are written.
    if (!isClosed && run.isReported) process.exit(run.exitCode)
  }
}

/** Throws where the host is all there is and cannot be used; says so in a line where it was an extra. */
function isHostUsable(isExtra: boolean, screen: Screen): boolean {
  const problem = hostProblem()
  if (!problem) return true
  if (!isExtra) throw new GmemError(problem.message, { hint: problem.hint })
  screen.print(`host is left out: ${problem.message}. ${problem.hint}`)
  return false
}

/** Sets the exit code for good: what of vitest still winds down would put its own 1 in its place. */
export function keepExitCode(code: ExitCode): void {
  process.exitCode = code
  process.once('exit', () => {
    process.exitCode = code
  })
}

/** Where a run's results go. */
export interface RunPlace {
  readonly screen: Screen
  readonly runDir: string
  /** Of the targets. */
  readonly events: TargetEvents
}

/** One run of tests on targets, which may serve more runs after it. */
export class TestRun {
  exitCode: ExitCode = ExitCode.ok
  /** Whether its result is known, and written. */
  isReported = false
  environmentWritten: Promise<void> = Promise.resolve()
  #writeError: string | null = null

  constructor(
    readonly request: TestRequest,
    readonly context: CliContext,
    readonly place: RunPlace,
  ) {}

  /** Runs, reports, and returns what the process should exit with. */
  async on(targets: readonly Target[]): Promise<ExitCode> {
    const { request } = this
    const { screen, runDir, events } = this.place
    const recorder: RunRecorder = new RunRecorder({
      targets: targets.map(({ info }) => info),
      root: projectRoot,
      seed: request.seed,
      artefacts: runDir,
      filter: request.namePattern,
      failOnSkip: request.failOnSkip,
      shard: request.shard,
      decode: createDecoding(
        new Map(targets.flatMap(({ info, kernel }) => (kernel ? [[info.id, kernel]] : []))),
      ),
      onResult: async (result): Promise<void> => await this.#report(result, terminal),
    })
    const terminal: TerminalReporter = new TerminalReporter(screen, recorder)
    events.listen((id, event) => {
      recorder.onTargetEvent(id, event)
      terminal.onTargetEvent(id, event)
    })
    terminal.start()
    if (targets.some(({ info }) => info.id === 'host')) {
      events.emit('host', { type: 'accelerator', accel: 'host', why: "this machine's own /dev/kvm" })
    }
    await Promise.all(targets.map(({ underWay }) => underWay))
    const onSharded = (own: readonly TestSpecification[], { length }: readonly TestSpecification[]): void => {
      recorder.specifications = own
      if (request.shard)
        screen.print(`shard ${shardText(request.shard)}: ${own.length} of ${plural(length, 'test file')}`)
    }
    const reporters = [recorder, terminal]
    const vitest = await createEngine({ ...request, targets, screen, reporters, onSharded })
    this.environmentWritten = this.#tryToWrite(this.#recordEnvironment(targets))
    const stop = createStopper(recorder, this.context.signal, deadlineOf(request))
    try {
      const running = vitest.start([...request.filters])
      await Promise.race([running, stop.requested])
      if (request.watch) await stop.requested
      if (stop.isRequested()) {
        await giveUp(vitest, running, () => Promise.all(targets.map((target) => target.close())))
      }
    } finally {
      stop.dispose()
    }
    if (!this.isReported) await this.#report(recorder.result(), terminal)
    await closeInTime([vitest.close()])
    return this.context.signal.aborted ? ExitCode.interrupted : this.exitCode
  }

  /** A full disk must not take along what the terminal shows. */
  async #tryToWrite(writing: Promise<void>): Promise<void> {
    try {
      await writing
    } catch (error) {
      this.#writeError ??= error instanceof Error ? error.message : String(error)
    }
  }

  async #report(result: RunResult, terminal: TerminalReporter): Promise<void> {
    if (this.isReported && !this.request.watch) return
    this.isReported = true
    this.exitCode = result.exitCode as ExitCode
    const { outputs } = this.request
    await this.environmentWritten
    await this.#tryToWrite(writeResult(this.place.runDir, result))
    await this.#tryToWrite(writeOutputs(result, outputs, this.place.screen))
    if (this.#writeError !== null) {
      this.place.screen.print(`not all results could be written: ${this.#writeError}`)
      if (this.exitCode !== ExitCode.interrupted) this.exitCode = ExitCode.infrastructure
    }
    this.#explainNoTests(result)
    terminal.printResult(result)
  }

  #explainNoTests({ exitCode, passed, failed, skipped, shard }: RunResult): void {
    const { namePattern } = this.request
    if (exitCode === ExitCode.usage) this.place.screen.print(`no test's name matches ${namePattern}`)
    if (exitCode !== ExitCode.ok || passed + failed + skipped > 0 || shard === undefined) return
    const matching = namePattern === undefined ? '' : ` whose name matches ${namePattern}`
    this.place.screen.print(
      `shard ${shardText(shard)} has no test${matching}: that is for gmem report merge to judge`,
    )
  }

  async #recordEnvironment(targets: readonly Target[]): Promise<void> {
    const images = targets
      .map(({ kernel }) => kernel)
      .filter((kernel): kernel is KernelImage => kernel !== null)
    await writeEnvironment(this.place.runDir, storedRequest(this.request), images)
  }
}

/** The limit of the whole run, in ms on this machine. */
function deadlineOf({ deadlineMs, slowdown }: TestRequest): number | undefined {
  return deadlineMs === undefined ? undefined : deadlineMs * (slowdown ?? 1)
}
