// SPDX-License-Identifier: Apache-2.0
import type { Duplex, Readable, Writable } from 'node:stream'
import { execa } from 'execa'
import { findProgram } from './binary.js'
import { InfrastructureError } from './errors.js'

const STDERR_TAIL_CHARS = 8192

/** A QEMU process with its inherited sockets. */
export interface QemuProcess {
  readonly pid: number
  readonly qmp: Duplex
  readonly fromGuest: Readable
  readonly toGuest: Writable
  readonly sysrq: Writable
  readonly commandLine: string
  /** Resolves, never rejects, when the process is gone. */
  readonly ended: Promise<ProcessEnd>
  /** SIGKILL; does nothing once it has ended. */
  kill(): void
}

/** How the process ended. */
export interface ProcessEnd {
  readonly exitCode: number | null
  readonly signal: string | null
  readonly stderrTail: string
}

/**
 * Processes that still run: an orderly end of gmem takes them along, where the kernel does not do it (no
 * setpriv).
 */
const running = new Set<QemuProcess>()
let cleansUp = false
let warned = false

/**
 * Starts QEMU with QMP on descriptor 3, the worker's ports on 4 and 5 and sysrq keys on 6: all socket pairs, so
 * that no socket file exists. It dies with this process whatever kills it (PR_SET_PDEATHSIG through setpriv), and is
 * in a session of its own: Ctrl-C reaches gmem alone, which then ends its VMs in order. Throws
 * InfrastructureError where it cannot be started.
 */
export function spawnQemu(path: string, args: readonly string[]): QemuProcess {
  const [program, ...programArgs] = [...deathSignalWrapper(), path, ...args]
  const child = execa(program ?? path, programArgs, {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
    buffer: false,
    reject: false,
    detached: true,
    cleanup: false,
    stripFinalNewline: false,
  })
  let stderrTail = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderrTail = (stderrTail + text).slice(-STDERR_TAIL_CHARS)
  })
  const [, , , qmp, fromGuest, toGuest, sysrq] = child.stdio as (Duplex | null)[]
  if (child.pid === undefined || !qmp || !fromGuest || !toGuest || !sysrq)
    throw new InfrastructureError(`QEMU cannot be started: ${path}`)
  const ended = child.then(({ exitCode, signal }) => {
    running.delete(qemuProcess)
    return { exitCode: exitCode ?? null, signal: signal ?? null, stderrTail }
  })
  const commandLine = [path, ...args].map(quoteForShell).join(' ')
  const qemuProcess: QemuProcess = {
    pid: child.pid,
    qmp,
    fromGuest,
    toGuest,
    sysrq,
    commandLine,
    ended,
    kill: () => child.kill('SIGKILL'),
  }
  running.add(qemuProcess)
  cleanUpAtExit()
  return qemuProcess
}

function cleanUpAtExit(): void {
  if (cleansUp) return
  cleansUp = true
  process.once('exit', () => {
    for (const qemuProcess of running) qemuProcess.kill()
  })
}

function deathSignalWrapper(): string[] {
  const setpriv = findProgram('setpriv')
  if (setpriv !== null) return [setpriv, '--pdeathsig', 'KILL']
  if (!warned) {
    process.emitWarning(
      'gmem: setpriv is missing (apt-get install util-linux): a kill -9 of gmem would leave its QEMU processes running',
    )
  }
  warned = true
  return []
}

function quoteForShell(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
