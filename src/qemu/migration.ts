// SPDX-License-Identifier: Apache-2.0
import { rename, rm, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { SavedVmError } from './errors.js'
import type { QmpClient } from './qmp.js'
import { partialName } from './sweep.js'

/**
 * RAM stays in its file, shared with QEMU, and is left out of the state stream: saving and restoring then
 * take the same few milliseconds whatever the VM's size. In QEMU since 4.0, under this name
 * (qapi/migration.json).
 */
const CAPABILITIES = [{ capability: 'x-ignore-shared', state: true }]

const SAVE_LIMIT_MS = 60_000
const RESTORE_LIMIT_MS = 60_000
const POLL_MS = 2

/**
 * Stops the VM and writes everything but its RAM to `file`, under another name until it is whole. Throws
 * SavedVmError; then there is no such file.
 */
export async function saveDeviceState(qmp: QmpClient, file: string, signal?: AbortSignal): Promise<void> {
  const partial = partialName(file)
  try {
    await qmp.execute('migrate-set-capabilities', { capabilities: CAPABILITIES })
    await qmp.execute('stop')
    await qmp.execute('migrate', { uri: `exec:cat > ${quoted(partial)}` })
    await waitForMigration(qmp, SAVE_LIMIT_MS, signal)
    if ((await stat(partial)).size === 0)
      throw new SavedVmError('QEMU wrote an empty state; is the disk full?')
    await rename(partial, file)
  } catch (error) {
    await rm(partial, { force: true })
    if (error instanceof SavedVmError) throw error
    throw new SavedVmError(`the VM was not saved: ${(error as Error).message}`, { cause: error })
  }
}

/**
 * Reads a saved state into a VM that was started with `-incoming defer`, and sets it going. Throws QmpError
 * or SavedVmError.
 */
export async function restoreInto(qmp: QmpClient, file: string): Promise<void> {
  await qmp.execute('migrate-set-capabilities', { capabilities: CAPABILITIES })
  await qmp.execute('migrate-incoming', { uri: `exec:cat ${quoted(file)}` })
  await waitForMigration(qmp, RESTORE_LIMIT_MS)
  // It was stopped when it was saved, so it is stopped now.
  await qmp.execute('cont')
}

interface MigrationInfo {
  readonly status?: string
  readonly 'error-desc'?: string
}

async function waitForMigration(qmp: QmpClient, limitMs: number, signal?: AbortSignal): Promise<void> {
  const deadline = performance.now() + limitMs
  while (performance.now() < deadline) {
    signal?.throwIfAborted()
    const info = (await qmp.execute('query-migrate')) as MigrationInfo
    if (info.status === 'completed') return
    if (info.status === 'failed' || info.status === 'cancelled') {
      throw new SavedVmError(`QEMU could not move the state: ${info['error-desc'] ?? 'is the disk full?'}`)
    }
    await sleep(POLL_MS)
  }
  throw new SavedVmError(`QEMU did not finish with the state within ${limitMs / 1000} s`)
}

function quoted(path: string): string {
  return `'${path.replaceAll("'", "'\\''")}'`
}
