// SPDX-License-Identifier: Apache-2.0
import type { KernelPoolOptions } from './options.js'
import type { Session } from './session.js'
import { SessionSource } from './source.js'

const PROBE_MS_MAX = 120_000

/** What probeTarget() answers inside a VM of a kernel. Throws InfrastructureError where the VM does not come up. */
export async function probeInGuest(options: KernelPoolOptions): Promise<unknown> {
  return await withSession(options, async (session) => {
    const answer = session.next('probe', PROBE_MS_MAX)
    session.send({ type: 'probe' })
    return (await answer).probe
  })
}

/** A terminal, as far as a prompt in the guest needs one. */
export interface ShellTerminal {
  readonly columns: number
  onInput(listener: (data: string) => void): void
  write(data: string): void
}

/** Connects a terminal with a Node prompt in a VM of a kernel; resolves when the prompt is left or the VM ends. */
export async function shellInGuest(
  options: KernelPoolOptions,
  terminal: ShellTerminal,
): Promise<'left' | 'ended'> {
  return await withSession(options, async (session) => {
    return await new Promise((resolve) => {
      session.on('message', (message) => {
        if (message.type === 'shell-output') terminal.write(message.data)
        if (message.type === 'shell-exit') resolve('left')
      })
      session.on('exit', () => resolve('ended'))
      const send = (data: string): void =>
        session.send({ type: 'shell-input', data, columns: terminal.columns })
      terminal.onInput(send)
      send('')
    })
  })
}

async function withSession<T>(options: KernelPoolOptions, use: (session: Session) => Promise<T>): Promise<T> {
  const source = new SessionSource(options)
  try {
    const session = await source.take()
    try {
      return await use(session)
    } finally {
      await session.close()
    }
  } finally {
    await source.close()
  }
}
