// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { projectRoot } from '../../../src/paths.js'
import { createTemporaryFolder } from '../../../src/temporary.js'

/** How often something that must happen soon is looked for, in ms. */
const POLL_MS = 50
/** A process that was told to end is gone by then on any machine, in ms. */
const GONE_MS_MAX = 15_000

/** How a gmem process ended, and what it printed. */
export interface GmemRun {
  readonly exitCode: number | undefined
  readonly stdout: string
  readonly stderr: string
  /** Of the standard output. */
  readonly lastLine: string
  readonly durationMs: number
}

/** A gmem process that runs. */
export interface StartedGmem {
  readonly pid: number
  readonly ended: Promise<GmemRun>
  /** What it has printed on its standard output so far. */
  printed(): string
  kill(signal: NodeJS.Signals): void
}

export interface GmemOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
  /** A command that starts another: `unshare -m …`; gmem's own is put behind it. */
  readonly under?: readonly string[]
}

/**
 * A place to run gmem in: a cache and a temporary folder of its own, so that whatever it leaves behind is found. `root` is the
 * project whose dist is run.
 */
export class Sandbox {
  readonly #running = new Set<StartedGmem>()

  private constructor(
    readonly path: string,
    readonly root: string,
    readonly removeFolder: () => Promise<void>,
  ) {}

  static async create(root: string = projectRoot): Promise<Sandbox> {
    const folder = await createTemporaryFolder('sandbox')
    await mkdir(join(folder.path, 'tmp'))
    return new Sandbox(folder.path, root, () => folder.remove())
  }

  get cache(): string {
    return join(this.path, 'cache')
  }

  get temporary(): string {
    return join(this.path, 'tmp')
  }

  async run(args: readonly string[], options: GmemOptions = {}): Promise<GmemRun> {
    return await this.start(args, options).ended
  }

  start(args: readonly string[], { env, input, under = [] }: GmemOptions = {}): StartedGmem {
    const startedMs = performance.now()
    const main = join(this.root, 'dist', 'cli', 'main.js')
    const [program = '', ...rest] = [...under, process.execPath, main, ...args]
    const child = execa(program, rest, {
      cwd: this.path,
      env: { ...plainEnvironment(), GMEM_CACHE: this.cache, TMPDIR: this.temporary, NO_COLOR: '1', ...env },
      extendEnv: false,
      reject: false,
      ...(input === undefined ? { stdin: 'ignore' as const } : { input }),
    })
    if (child.pid === undefined) throw new Error(`${program} did not start`)
    const ended = child.then(({ exitCode, stdout, stderr }) => {
      const lastLine = stdout.trimEnd().split('\n').at(-1) ?? ''
      return { exitCode, stdout, stderr, lastLine, durationMs: performance.now() - startedMs }
    })
    let output = ''
    child.stdout.on('data', (data: Buffer) => {
      output += data.toString()
    })
    const started = {
      pid: child.pid,
      ended,
      printed: () => output,
      kill: (signal: NodeJS.Signals) => void child.kill(signal),
    }
    this.#running.add(started)
    void ended.then(() => this.#running.delete(started))
    return started
  }

  /** The processes that gmem has started here and that still run, by their command lines. */
  processes(): string[] {
    const mark = `TMPDIR=${this.temporary}\0`
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && `${readProc(name, 'environ')}\0`.includes(mark))
      .map((pid) => `${pid} ${readProc(pid, 'cmdline').replaceAll('\0', ' ')}`)
  }

  /** Waits until a VM of this sandbox runs; returns QEMU's process id. */
  async vm(): Promise<number> {
    return await until('a QEMU process', () => {
      const qemu = this.processes().find((line) => line.includes(' -serial chardev:console '))
      return qemu === undefined ? null : Number(qemu.split(' ', 1)[0])
    })
  }

  /** What is left of gmem's work a moment after its end: processes, temporary files, half-written files of the cache. */
  async leftovers(): Promise<string[]> {
    let left: string[] = []
    const isClean = (): true | null => {
      left = [...this.processes(), ...readdirSync(this.temporary), ...partials(this.cache)]
      return left.length === 0 ? true : null
    }
    return await until('nothing to be left', isClean, GONE_MS_MAX).then(
      () => [],
      () => left,
    )
  }

  /** Ends what still runs, where a test gave up waiting for it, and removes everything. */
  async remove(): Promise<void> {
    for (const gmem of this.#running) gmem.kill('SIGKILL')
    await this.leftovers()
    await this.removeFolder()
  }
}

/** Waits until `look` finds something. */
export async function until<T>(what: string, look: () => T | null, limitMs = 120_000): Promise<T> {
  const endMs = performance.now() + limitMs
  for (;;) {
    const found = look()
    if (found !== null) return found
    if (performance.now() > endMs) throw new Error(`waited ${limitMs / 1000} s for ${what}`)
    await sleep(POLL_MS)
  }
}

/** Whether a namespace of one's own can be made and mounted in: root, and no sandbox that forbids it. */
export async function canMount(): Promise<boolean> {
  const { exitCode } = await execa('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], {
    reject: false,
  })
  return exitCode === 0
}

/** Skips the test, with the reason where every reporter finds it. */
export function skipFor(
  reason: string,
  { task, skip }: { readonly task: { readonly meta: object }; readonly skip: (note: string) => never },
): never {
  Object.assign(task.meta, { skipReason: reason })
  return skip(reason)
}

/** This process's environment without what vitest and the person who tests put into it. */
function plainEnvironment(): Record<string, string> {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(VITEST|GMEM_|GITHUB_|NODE_|FORCE_COLOR|CI$|TEST$|DEV$|PROD$|MODE$)/.test(name),
  )
  return Object.fromEntries(kept.filter((entry): entry is [string, string] => entry[1] !== undefined))
}

function partials(cache: string): string[] {
  if (!existsSync(cache)) return []
  const names = readdirSync(cache, { recursive: true, encoding: 'utf8' })
  return names.filter((name) => name.endsWith('.partial'))
}

/** A process may end at any moment, and a zombie has neither file. */
function readProc(pid: string, file: 'environ' | 'cmdline'): string {
  try {
    return readFileSync(join('/proc', pid, file), 'utf8')
  } catch {
    return ''
  }
}
