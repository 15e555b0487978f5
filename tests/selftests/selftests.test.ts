// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'gmem/testing'

/*
 * Not part of the contract: `gmem coverage --selftests` runs the kernel's own programs, so that what they reach is measured as what gmem reaches.
 */
const folder = process.env.GMEM_SELFTESTS ?? ''
const programs = readdirSync(folder).filter((name) => name.endsWith('_test'))

/** In ms; private_mem_conversions_test takes 22 s under emulation. */
const LIMIT_MS = 120_000

for (const name of programs.sort()) {
  test(name, { timeoutMs: LIMIT_MS }, async () => {
    // Not spawnSync: a worker that waits for so long looks like one that hangs.
    const child = spawn(join(folder, name))
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += String(chunk)))

    const [status, signal] = await once(child, 'close')

    expect({ status, signal }, output).toEqual({ status: 0, signal: null })
  })
}
