// SPDX-License-Identifier: Apache-2.0
import type { Session } from './session.js'

/** VMs of all kernels that may wait for a file at the same time: each takes memory, beside those that run. */
const IDLE_VMS_MAX = 4

interface Waiting {
  readonly session: Session
  readonly owner: IdleVms
  readonly onExit: () => void
}

/** Of all kernels, the one that has waited longest first. */
const waiting: Waiting[] = []

/** VMs of one kernel that wait for their next test file. */
export class IdleVms {
  /** `onDeath` is called with one that ends by itself while it waits. */
  constructor(readonly onDeath: (session: Session) => void) {}

  /** Keeps a VM; the one that has waited longest ends where there are too many. */
  async add(session: Session): Promise<void> {
    if (session.exit !== null) {
      this.onDeath(session)
      return
    }
    const onExit = (): void => {
      remove(waiting.findIndex((entry) => entry.session === session))
      this.onDeath(session)
    }
    session.once('exit', onExit)
    waiting.push({ session, owner: this, onExit })
    if (waiting.length > IDLE_VMS_MAX) await remove(0)?.close()
  }

  /** Ends all that wait. */
  async end(): Promise<void> {
    for (let session = this.take(); session !== null; session = this.take()) await session.close()
  }

  /** The one that came last; null where there is none. */
  take(): Session | null {
    return remove(waiting.findLastIndex(({ owner }) => owner === this))
  }
}

function remove(index: number): Session | null {
  const [entry] = index < 0 ? [] : waiting.splice(index, 1)
  entry?.session.off('exit', entry.onExit)
  return entry?.session ?? null
}
