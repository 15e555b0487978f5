// SPDX-License-Identifier: Apache-2.0
import { readFile } from 'node:fs/promises'
import type { MachineExit } from '../qemu/machine.js'
import { ConsoleScanner, type Splat } from '../splats/index.js'
import type { RecordedError } from './protocol.js'
import type { Session } from './session.js'

export type Death =
  | { readonly kind: 'exit'; readonly exit: MachineExit }
  | {
      readonly kind: 'hang'
      readonly what: string
      /** What it printed when it was asked where it is. */
      readonly evidence: string
      /** Size of the console's file before it was asked. */
      readonly consoleBytes: number
    }

/** What happened to a VM, as its test's failure. */
export interface DeathReport {
  readonly failure: 'death' | 'hang'
  readonly error: RecordedError
  /** What the kernel said on the console since the test had begun. */
  readonly splats: readonly Splat[]
}

/** How much of the console's end goes into the error: a panic with its registers and trace. */
const CONSOLE_LINES_MAX = 60

/** What happened to a VM. `then`: in relation to the test that it is blamed on, `during "a page is kept"`. */
export async function describeDeath(session: Session, death: Death, then: string): Promise<DeathReport> {
  const when = session.isUsed ? `${then}, ${session.useText}` : then
  const { consoleFile } = session.machine
  const bytes = await readFile(consoleFile).catch(() => Buffer.alloc(0))
  const scanner = new ConsoleScanner({ restored: session.restored })
  const before = death.kind === 'hang' ? bytes.subarray(0, death.consoleBytes) : bytes
  const ofTest = linesSince(before.toString(), session.testStartUs)
  scanner.push(ofTest)
  const splats = scanner.finish()
  const end = bytes.toString().replaceAll('\r', '').trimEnd().split('\n').slice(-CONSOLE_LINES_MAX).join('\n')
  if (death.kind === 'hang') {
    const head = `the guest hung ${when}: ${death.what}`
    const message = `${head}\n\n${death.evidence || end}\n\nconsole: ${consoleFile}`
    return { failure: 'hang', splats, error: { name: 'GuestHang', message, stack: `GuestHang: ${head}` } }
  }
  const [who, how] = causeOf(death.exit, splats, ofTest)
  const head = `${who} ${when}: ${how}`
  const message = `${head}\n\n${end}\n\nconsole: ${consoleFile}`
  return { failure: 'death', splats, error: { name: 'GuestDied', message, stack: `GuestDied: ${head}` } }
}

/** Who died, and how. A dead worker or a killed QEMU does not mean that the kernel is bad, and must not be read so. */
function causeOf(exit: MachineExit, splats: readonly Splat[], console: string): [who: string, how: string] {
  const kernelDied = 'the guest kernel died'
  const fatal = splats.find((splat) => splat.fatal)
  if (fatal) return [kernelDied, fatal.title]
  const panic = /Kernel panic - not syncing: (.*)/.exec(console)
  if (panic?.[1]) return [kernelDied, `kernel panic: ${panic[1].trim()}`]
  const worker = /gmem-init: worker (exited.*|killed.*)/.exec(console)?.[1]?.trim()
  if (worker !== undefined) {
    const oom = splats.find(({ kind }) => kind === 'OOM')
    return ['the test worker died', oom && worker.includes('SIGKILL') ? `${worker}: ${oom.title}` : worker]
  }
  switch (exit.reason) {
    case 'panic':
      return [kernelDied, 'kernel panic']
    case 'reset':
      return [kernelDied, 'unexpected reset: a triple fault, or a reboot that nobody asked for']
    case 'shutdown':
      return ['the VM ended', 'it powered off']
    case 'killed':
      return ['the VM ended', `QEMU was killed by ${exit.signal ?? 'a signal'} from outside`]
    case 'error':
      return ['the VM ended', `QEMU failed with exit code ${exit.exitCode ?? '?'}: ${exit.stderrTail.trim()}`]
  }
}

/** The console from the first line on that is no older than `startUs`; all of it where the kernel prints no times. */
function linesSince(console: string, startUs: number): string {
  const lines = console.split('\n')
  const last = lines.findLastIndex((line) => {
    const [, seconds, micros] = /^\[ *(\d+)\.(\d{6})\]/.exec(line) ?? []
    return seconds !== undefined && Number(seconds) * 1e6 + Number(micros) < startUs
  })
  return lines.slice(last + 1).join('\n')
}
