// SPDX-License-Identifier: Apache-2.0
import { readFile } from 'node:fs/promises'
import type { MachineExit } from '../qemu/machine.js'
import type { RecordedError, TestIdentity } from './protocol.js'
import type { Session } from './session.js'

export type Death =
  | { readonly kind: 'exit'; readonly exit: MachineExit }
  | { readonly kind: 'hang'; readonly what: string; readonly evidence: string }

/** How much of the console's end goes into the error: a panic with its registers and trace. */
const CONSOLE_LINES_MAX = 60

/** What happened to a VM, as the error of the test that ran: the kind, then the console's end. */
export async function describeDeath(
  session: Session,
  death: Death,
  test: TestIdentity | null,
): Promise<RecordedError> {
  const console = await consoleEnd(session.machine.consoleFile)
  const during = test === null ? 'while no test ran' : `during "${test.name}"`
  if (death.kind === 'hang') {
    const message = `the guest hung ${during}: ${death.what}\n\n${death.evidence || console}\n\nconsole: ${session.machine.consoleFile}`
    return { name: 'GuestHang', message, stack: `GuestHang: ${death.what}` }
  }
  const how = reasonFromConsole(console) ?? describeExit(death.exit)
  const message = `the guest kernel died ${during}: ${how}\n\n${console}\n\nconsole: ${session.machine.consoleFile}`
  return { name: 'GuestDied', message, stack: `GuestDied: ${how}` }
}

function describeExit(exit: MachineExit): string {
  switch (exit.reason) {
    case 'panic':
      return 'kernel panic'
    case 'reset':
      return 'unexpected reset: a triple fault or a reboot that nobody asked for'
    case 'shutdown':
      return 'it powered off'
    case 'killed':
      return `QEMU was killed by ${exit.signal ?? 'a signal'}`
    case 'error':
      return `QEMU failed with exit code ${exit.exitCode ?? '?'}: ${exit.stderrTail.trim()}`
  }
}

/** The console's own word for it, where it has one. */
function reasonFromConsole(text: string): string | null {
  const panic = /Kernel panic - not syncing: (.*)/.exec(text)
  if (panic?.[1]) return `kernel panic: ${panic[1].trim()}`
  const worker = /gmem-init: (worker (?:exited|killed).*)/.exec(text)
  return worker?.[1] ? worker[1].trim() : null
}

async function consoleEnd(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '')
  const lines = text.replaceAll('\r', '').trimEnd().split('\n')
  return lines.slice(-CONSOLE_LINES_MAX).join('\n')
}
