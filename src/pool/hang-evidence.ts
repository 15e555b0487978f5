// SPDX-License-Identifier: Apache-2.0
import { readFile, stat } from 'node:fs/promises'
import type { Session } from './session.js'

/** w: blocked tasks; l: backtraces of all CPUs; t: all tasks. Documentation/admin-guide/sysrq.rst */
const SYSRQ_KEYS = 'wlt'
/** How long the guest gets to begin, in ms. */
const BEGIN_MS_MAX = 6_000
/** How long it gets to print it, in ms: thousands of lines over an emulated serial port. */
const PRINT_MS_MAX = 15_000
/** Nothing new on the console for this long, in ms: it is done. */
const QUIET_MS = 700
/** What goes into the error; all of it is in the console's file. */
const LINES_MAX = 150

/**
 * Has a hung guest print its blocked tasks and its CPUs' backtraces before it is killed. PID 1 does it, on a port of its own,
 * whatever the worker is stuck in; where not even that helps, an NMI makes the kernel panic (unknown_nmi_panic) and say where it
 * was. Returns what the console got, empty where the guest did nothing more.
 */
export async function collectHangEvidence(session: Session): Promise<string> {
  const { machine } = session
  const before = await sizeOf(machine.consoleFile)
  machine.sysrq(SYSRQ_KEYS)
  if (!(await printsMore(machine.consoleFile, before))) {
    // A QEMU that is stopped answers no more than its guest.
    await machine.qmp.execute('inject-nmi', undefined, BEGIN_MS_MAX).catch(() => {})
    await printsMore(machine.consoleFile, before)
  }
  const text = (await readFile(machine.consoleFile).catch(() => Buffer.alloc(0))).subarray(before).toString()
  return text.replaceAll('\r', '').trim().split('\n').slice(0, LINES_MAX).join('\n')
}

/** Waits until the console has got more than `before` and is quiet again. False where it gets nothing. */
async function printsMore(consoleFile: string, before: number): Promise<boolean> {
  const startedMs = performance.now()
  let size = before
  let quietSinceMs = startedMs
  for (;;) {
    const now = performance.now()
    const limitMs = size === before ? BEGIN_MS_MAX : PRINT_MS_MAX
    if (now - startedMs > limitMs || (size > before && now - quietSinceMs > QUIET_MS)) return size > before
    await new Promise((resolve) => setTimeout(resolve, 50))
    const grown = await sizeOf(consoleFile)
    if (grown !== size) quietSinceMs = performance.now()
    size = grown
  }
}

async function sizeOf(file: string): Promise<number> {
  return await stat(file).then(
    ({ size }) => size,
    () => 0,
  )
}
