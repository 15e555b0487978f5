// SPDX-License-Identifier: Apache-2.0
import { basename } from 'node:path'
import type { Reporter, TestCase, TestModule } from 'vitest/node'
import type { TargetEvent, TargetInfo } from './events.js'
import { failureLines } from './failure.js'
import { testResult } from './model.js'
import type { FileRecord, RunRecorder } from './recorder.js'
import type { RunResult, TestResult } from './schema.js'
import type { Screen } from './screen.js'
import { hanging, truncate, visibleWidth } from './style.js'
import { summaryLines } from './summary.js'
import { seconds } from './values.js'

/** How often the status line is redrawn, in ms: the clock in it is the heartbeat. */
const STATUS_MS = 200
/** Without a status line, a line says that the run is alive after this many ms without any other; doubled each time. */
const SILENCE_MS = 2_000
const SILENCE_MS_MAX = 30_000
const ACCELERATOR_NAME = { kvm: 'KVM', tcg: 'TCG', host: 'no VM' } as const

/** The reporter for people: what runs now, each file as it ends, each failure as it comes. */
export class TerminalReporter implements Reporter {
  readonly #targets: ReadonlyMap<string, TargetInfo>
  readonly #accelerators = new Map<string, string>()
  readonly #activities = new Map<string, string>()
  /** Target and file name of what runs, by target and file. */
  readonly #running = new Map<string, string>()
  readonly #seenSplats = new Map<string, number>()
  readonly #announced = new Set<string>()
  readonly #printed = new Set<string>()
  readonly #width: number
  #counts = { passed: 0, failed: 0, skipped: 0, files: 0 }
  #silenceMs = SILENCE_MS
  #startedMs = 0
  #hasEnded = false
  #timer: NodeJS.Timeout | null = null

  constructor(
    readonly screen: Screen,
    readonly recorder: RunRecorder,
  ) {
    this.#targets = new Map(recorder.options.targets.map((target) => [target.id, target]))
    this.#width = Math.max(...recorder.options.targets.map(({ id }) => id.length))
  }

  /** Starts the status line: from here on the terminal is never silent for long. */
  start(): void {
    this.#timer ??= setInterval(() => this.#tick(), STATUS_MS)
    this.#timer.unref()
    this.#tick()
  }

  /** Removes the status line. */
  stop(): void {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
    this.screen.status('')
  }

  onTargetEvent(id: string, event: TargetEvent): void {
    // What a VM says while it is taken away must not come behind the last line.
    if (this.#hasEnded) return
    const { colours } = this.screen
    switch (event.type) {
      case 'accelerator':
        this.#accelerators.set(id, `${ACCELERATOR_NAME[event.accel]}: ${event.why}`)
        if (event.accel === 'host') this.#header(id)
        break
      case 'booted':
        this.#header(id, `${this.#bootWord(id, event.restored)} in ${seconds(event.ms)}`)
        this.#activities.delete(id)
        break
      case 'progress':
        this.#activities.set(id, event.text)
        break
      case 'note':
        this.screen.print(`${colours.yellow('!')} ${this.#name(id)}  ${event.text}`)
        break
      case 'death':
        this.screen.print(`${colours.red('†')} ${this.#name(id)}  ${event.message.split('\n', 1)[0] ?? ''}`)
        break
    }
    this.#tick()
  }

  onTestRunStart(): void {
    this.#counts = { passed: 0, failed: 0, skipped: 0, files: 0 }
    this.#seenSplats.clear()
    this.#printed.clear()
    if (this.#hasEnded) this.#startedMs = performance.now()
    this.#hasEnded = false
    this.start()
  }

  onTestModuleQueued(module: TestModule): void {
    this.#activities.delete(module.project.name)
    this.#running.set(moduleKey(module), `${module.project.name} ${basename(module.moduleId)}`)
    this.#tick()
  }

  onTestCaseResult(test: TestCase): void {
    const { reading } = this.recorder
    if (reading.filter && test.result().state === 'skipped') return
    const result = testResult(test, reading)
    this.#firstResult(test.project.name, result)
    this.#counts[countedAs(result)] += 1
    if (result.status === 'failed' || result.flaky) this.#printFailure(test.project.name, result)
    this.#tick()
  }

  onTestModuleEnd(module: TestModule): void {
    this.#running.delete(moduleKey(module))
    this.#counts.files += 1
    const record = this.recorder.fileRecord(module)
    if (record && record.tests.length > 0) {
      this.#printUntold(record.target, record.tests)
      this.#fileLine(record)
    }
    this.#tick()
  }

  onWatcherStart(): void {
    this.screen.status('waiting for a test file to change; Ctrl-C ends')
  }

  onUserConsoleLog(log: { readonly content: string }): void {
    const lines = log.content.trimEnd().split('\n')
    this.screen.print(lines.map((line) => `${this.screen.colours.dim('│')} ${line}`))
  }

  /** Prints the end of a run. */
  printResult(run: RunResult): void {
    this.stop()
    this.#hasEnded = true
    for (const target of run.targets) this.#printUntold(target.id, target.tests)
    this.#announced.clear()
    this.screen.print(summaryLines(run, this.screen.colours, this.screen.columns))
  }

  /** One line a target, once its first VM is up: which kernel, on what, why, and how long that took. */
  #header(id: string, boot?: string): void {
    if (this.#announced.has(id)) return
    this.#announced.add(id)
    const { colours } = this.screen
    const release = this.#targets.get(id)?.release ?? ''
    const parts = [`Linux ${release}`, boot, this.#accelerators.get(id)].filter((part) => part !== undefined)
    this.screen.print(
      hanging(`${colours.cyan('▸')} ${this.#name(id)}  `, parts.join(' · '), this.screen.columns),
    )
  }

  /** A VM that had to be saved first was booted, too: its time is no measure of a restore. */
  #bootWord(id: string, restored: boolean): string {
    if (!restored) return 'booted'
    return this.#activities.has(id) ? 'booted, saved and restored' : 'restored'
  }

  /** The promise is a result within 1.5 s of the command: so it is shown, with its time, and not only counted. */
  #firstResult(id: string, result: TestResult): void {
    const key = `${id}\0first`
    if (this.#announced.has(key) || result.status === 'skipped') return
    this.#announced.add(key)
    const time = seconds(performance.now() - this.#startedMs)
    const text = truncate(result.name, Math.max(20, this.screen.columns - this.#width - 32))
    this.screen.print(
      this.screen.colours.dim(`· ${id.padEnd(this.#width)}  first result after ${time}: ${text}`),
    )
  }

  #fileLine({ target, file, tests, durationMs }: FileRecord): void {
    const { colours } = this.screen
    const count = (status: TestResult['status']): number =>
      tests.filter((test) => test.status === status).length
    const failed = count('failed')
    const passed = count('passed')
    const known = count('known-issue')
    const skipped = count('skipped')
    const mark = failed > 0 ? colours.red('✗') : passed + known > 0 ? colours.green('✓') : colours.yellow('-')
    const parts = [
      passed > 0 && colours.green(`${passed} passed`),
      failed > 0 && colours.red(`${failed} failed`),
      known > 0 && colours.yellow(`${known} known issue${known === 1 ? '' : 's'}`),
      skipped > 0 && colours.yellow(`${skipped} skipped`),
      colours.dim(seconds(durationMs)),
    ].filter((part) => part !== false)
    const name = basename(file)
    const padding = ' '.repeat(Math.max(0, 32 - visibleWidth(name)))
    this.screen.print(`${mark} ${this.#name(target)}  ${name}${padding}  ${parts.join('  ')}`)
  }

  /** Failures that no test event told: a file that could not be loaded, a hook. */
  #printUntold(target: string, tests: readonly TestResult[]): void {
    for (const test of tests) if (test.status === 'failed') this.#printFailure(target, test)
  }

  #printFailure(target: string, result: TestResult): void {
    const key = `${target}\0${result.file}\0${result.name}`
    if (this.#printed.has(key)) return
    this.#printed.add(key)
    const { root } = this.recorder.options
    const { colours, columns } = this.screen
    const context = {
      target: target.padEnd(this.#width),
      root,
      colours,
      columns,
      seenSplats: this.#seenSplats,
    }
    this.screen.print(failureLines(result, context))
  }

  #name(id: string): string {
    return this.screen.colours.bold(id.padEnd(this.#width))
  }

  #tick(): void {
    if (this.#timer === null) return
    this.screen.status(this.#statusText())
    if (this.screen.isLive || performance.now() - this.screen.lastPrintMs < this.#silenceMs) return
    this.screen.print(this.#statusText())
    this.#silenceMs = Math.min(this.#silenceMs * 2, SILENCE_MS_MAX)
  }

  #statusText(): string {
    const { passed, failed, skipped, files } = this.#counts
    const filesTotal = this.recorder.specifications.length
    const doing = [...this.#activities].map(([id, text]) => `${id} ${text}`)
    const parts = [
      seconds(performance.now() - this.#startedMs),
      filesTotal > 0 && `${files}/${filesTotal} files`,
      passed > 0 && `${passed} passed`,
      failed > 0 && `${failed} failed`,
      skipped > 0 && `${skipped} skipped`,
      ...doing,
      ...this.#running.values(),
      filesTotal === 0 && doing.length === 0 && 'starting',
    ]
    return `… ${parts.filter((part) => part !== false).join(' · ')}`
  }
}

function moduleKey(module: TestModule): string {
  return `${module.project.name}\0${module.moduleId}`
}

function countedAs(result: TestResult): 'passed' | 'failed' | 'skipped' {
  return result.status === 'known-issue' ? 'passed' : result.status
}
