// SPDX-License-Identifier: Apache-2.0
import { open } from 'node:fs/promises'
import type { QmpEvent } from './qmp.js'

/** How a VM ended. */
export interface MachineExit {
  /**
   * `shutdown`: the guest powered off. `panic`: its kernel panicked. `reset`: it rebooted without a panic (a
   * triple fault, reboot(2)). `killed`: QEMU ended by a signal, ours or another's. `error`: QEMU failed by
   * itself; `stderrTail` says why.
   */
  readonly reason: 'shutdown' | 'panic' | 'reset' | 'killed' | 'error'
  /** QEMU's exit code, null where a signal ended it. */
  readonly exitCode: number | null
  /** The signal that ended QEMU (`SIGKILL`), or null. */
  readonly signal: string | null
  /** Whether `Machine.kill()` did it. */
  readonly byUs: boolean
  /** The last QMP events, oldest first. */
  readonly qmpEvents: readonly QmpEvent[]
  /** The end of what QEMU printed on stderr. */
  readonly stderrTail: string
}

const PANIC_LINE = 'Kernel panic - not syncing'
const CONSOLE_TAIL_BYTES = 256 * 1024

/** Puts a VM's end together from what QEMU said and how its process ended. */
export function classifyExit(facts: Omit<MachineExit, 'reason'>, consoleTail: string): MachineExit {
  return { ...facts, reason: exitReason(facts, consoleTail) }
}

function exitReason(facts: Omit<MachineExit, 'reason'>, consoleTail: string): MachineExit['reason'] {
  const shutdown = facts.qmpEvents.findLast((event) => event.event === 'SHUTDOWN')
  if (shutdown?.data.guest === true) {
    if (consoleTail.includes(PANIC_LINE) || shutdown.data.reason === 'guest-panic') return 'panic'
    return shutdown.data.reason === 'guest-reset' ? 'reset' : 'shutdown'
  }
  // QEMU turns SIGTERM, SIGINT and SIGHUP into an orderly end of its own.
  if (facts.signal !== null || shutdown !== undefined || facts.byUs) return 'killed'
  return facts.exitCode === 0 ? 'shutdown' : 'error'
}

/** The end of a console file; empty where there is none. */
export async function readConsoleTail(path: string): Promise<string> {
  const file = await open(path, 'r').catch(() => null)
  if (file === null) return ''
  try {
    const { size } = await file.stat()
    const length = Math.min(size, CONSOLE_TAIL_BYTES)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}
