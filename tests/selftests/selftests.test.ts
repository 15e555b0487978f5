// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process'
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
  test(name, { timeoutMs: LIMIT_MS }, () => {
    const { status, signal, stdout, stderr } = spawnSync(join(folder, name), { encoding: 'utf8' })

    expect({ status, signal }, `${stdout}\n${stderr}`).toEqual({ status: 0, signal: null })
  })
}
