// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const POLL_MS = 20

/**
 * Sends a signal to the QEMU of each VM on whose console `marker` appears, up to `count` of them. `runDir`: where the consoles are;
 * QEMU's command line names its own.
 */
export function signalWhenSaid(
  marker: string,
  signal: NodeJS.Signals,
  count: number,
): (runDir: string, over: AbortSignal) => Promise<void> {
  return async (runDir, over) => {
    const hit = new Set<string>()
    while (!over.aborted && hit.size < count) {
      for (const file of consolesWith(marker, runDir)) {
        if (hit.has(file)) continue
        hit.add(file)
        const pid = qemuOf(file)
        if (pid !== null) process.kill(pid, signal)
      }
      await sleep(POLL_MS)
    }
  }
}

function consolesWith(marker: string, runDir: string): string[] {
  const files = readdirSync(runDir).filter((name) => name.startsWith('console-'))
  return files
    .map((name) => join(runDir, name))
    .filter((file) => readFileSync(file, 'latin1').includes(marker))
}

function qemuOf(consoleFile: string): number | null {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    if (commandLine(name).includes(`path=${consoleFile},`)) return Number(name)
  }
  return null
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
  } catch {
    return ''
  }
}
