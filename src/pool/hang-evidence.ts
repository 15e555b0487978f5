// SPDX-License-Identifier: Apache-2.0
import { readFile, stat } from 'node:fs/promises'
import type { Session } from './session.js'

/** w: blocked tasks; l: backtraces of all CPUs; t: all tasks. Documentation/admin-guide/sysrq.rst */
const SYSRQ_KEYS = 'wlt'
/** How long the guest gets to print it, in ms: thousands of lines over an emulated serial port. */
const PRINT_MS_MAX = 15_000
/** Nothing new on the console for this long, in ms: it is done. */
const QUIET_MS = 700
/** What goes into the error; all of it is in the console's file. */
const LINES_MAX = 150

/**
 * Has a hung guest print its blocked tasks and its CPUs' backtraces before it is killed. PID 1 does it, on a port of its own,
 * whatever the worker is stuck in. Returns what the console got, empty where the guest did nothing more.
 */
export async function collectHangEvidence(session: Session): Promise<string> {
  const { consoleFile } = session.machine
  const before = await sizeOf(consoleFile)
  session.machine.sysrq(SYSRQ_KEYS)
  const deadline = performance.now() + PRINT_MS_MAX
  let size = before
  let quietSinceMs = performance.now()
  while (performance.now() < deadline && (size === before || performance.now() - quietSinceMs < QUIET_MS)) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    const now = await sizeOf(consoleFile)
    if (now !== size) quietSinceMs = performance.now()
    size = now
  }
  const text = (await readFile(consoleFile).catch(() => Buffer.alloc(0))).subarray(before).toString()
  return text.replaceAll('\r', '').trim().split('\n').slice(0, LINES_MAX).join('\n')
}

async function sizeOf(file: string): Promise<number> {
  return await stat(file).then(
    ({ size }) => size,
    () => 0,
  )
}
