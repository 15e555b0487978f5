// SPDX-License-Identifier: Apache-2.0
import type { PoolWorker, WorkerRequest } from 'vitest/node'
import { projectRoot } from '../paths.js'
import { compiledApi } from './compiled-api.js'
import { ListeningWorker } from './listening-worker.js'
import type { TroublePolicy } from './protocol.js'
import type { Session } from './session.js'
import { currentSignalHandlers } from './signal-handlers.js'

const FOLDER = 'tests/rehearsal'

/**
 * Runs a small test file in a VM that is about to be saved, through vitest itself: its copies then have loaded and compiled whatever a test
 * file needs. Results are thrown away; a rehearsal that goes wrong only leaves the VM colder.
 */
export async function rehearse(session: Session, policy: TroublePolicy): Promise<void> {
  const { createVitest } = await import('vitest/node')
  const { exitCode } = process
  const handlers = currentSignalHandlers()
  const vitest = await createVitest(
    'test',
    {
      config: false,
      root: projectRoot,
      watch: false,
      api: false,
      reporters: [{}],
      include: [`${FOLDER}/**/*.test.ts`],
      environment: 'node',
      includeTaskLocation: false,
      pool: { name: 'gmem-rehearsal', createPoolWorker: () => new RehearsalWorker(session, policy) },
      server: { deps: { external: [/\/dist\//] } },
    },
    {
      configFile: false,
      logLevel: 'silent',
      optimizeDeps: { noDiscovery: true, include: [] },
      server: { ws: false, hmr: false, watch: null },
      resolve: { alias: compiledApi },
    } as Parameters<typeof createVitest>[2],
  )
  handlers.removeNew()
  try {
    await vitest.start()
  } finally {
    await vitest.close()
    // What failed in there is no verdict on anything.
    process.exitCode = exitCode
  }
}

/** A worker that neither starts nor ends its VM. */
class RehearsalWorker extends ListeningWorker implements PoolWorker {
  readonly name = 'gmem-rehearsal'

  constructor(
    readonly session: Session,
    readonly policy: TroublePolicy,
  ) {
    super()
    session.on('message', (message) => {
      if (message.type === 'vitest') this.emit('message', message.message)
    })
    session.once('exit', () => this.emit('exit', undefined))
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {}

  send(message: WorkerRequest): void {
    if (message.type === 'stop') {
      this.emit('message', { type: 'stopped', __vitest_worker_response__: true })
      return
    }
    if (message.type === 'run')
      this.session.send({ type: 'ledger', policy: { ...this.policy, rehearsal: true }, entries: [] })
    this.session.send({ type: 'vitest', message })
  }
}
