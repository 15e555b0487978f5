// SPDX-License-Identifier: Apache-2.0
import { readFile } from 'node:fs/promises'
import { execa } from 'execa'
import { compileGuestProgram } from './guest-init.js'

const CLOCKSOURCES = '/sys/devices/system/clocksource/clocksource0/available_clocksource'

/**
 * The frequency of the host's time-stamp counter, in kHz; null where the host's own kernel does not trust
 * that counter. Takes 50 ms and is good to 1 kHz, whatever else runs. Throws InfrastructureError where there
 * is no C compiler.
 */
export async function measureHostTsc(cacheDir: string): Promise<number | null> {
  const available = await readFile(CLOCKSOURCES, 'utf8').catch(() => '')
  if (!available.split(/\s+/).includes('tsc')) return null
  const program = await compileGuestProgram('tsc', cacheDir)
  const { stdout } = await execa(program)
  const khz = Number(stdout)
  return Number.isSafeInteger(khz) && khz > 0 ? khz : null
}
