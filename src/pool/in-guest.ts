// SPDX-License-Identifier: Apache-2.0
import { GmemError, interruptedError } from '../errors.js'
import type { BenchLimits, BenchName, BenchResults } from './bench.js'
import type { KernelPoolOptions } from './options.js'
import type { Session } from './session.js'
import { SessionSource } from './source.js'

const PROBE_MS_MAX = 120_000
const BENCH_MS_MAX = 3_600_000

/**
 * What probeTarget() answers inside a VM of a kernel. Throws InfrastructureError where the VM does not come up, or `signal` ends it.
 */
export async function probeInGuest(options: KernelPoolOptions, signal?: AbortSignal): Promise<unknown> {
  return await withSession(options, signal, async (session) => {
    const answer = session.next('probe', PROBE_MS_MAX)
    session.send({ type: 'probe' })
    return (await answer).probe
  })
}

/** Boots a VM of a kernel and saves it, where none is saved. Throws InfrastructureError where it does not come up. */
export async function saveVm(options: KernelPoolOptions, signal?: AbortSignal): Promise<void> {
  await withSession(options, signal, async () => {})
}

/**
 * Measures something inside a VM of a kernel; `onStep` is told what comes next. Throws InfrastructureError where the VM does not come up
 * or dies, GmemError where a call of the measurement fails.
 */
export async function benchInGuest<Name extends BenchName>(
  options: KernelPoolOptions,
  { name, ...limits }: BenchLimits & { readonly name: Name },
  onStep: (what: string) => void,
  signal?: AbortSignal,
): Promise<BenchResults[Name]> {
  return await withSession(options, signal, async (session) => {
    session.on('message', (message) => {
      if (message.type === 'bench-step') onStep(message.what)
    })
    const answer = session.next('bench-result', BENCH_MS_MAX)
    session.send({ type: 'bench', name, limits })
    const { result, error } = await answer
    if (result === null) throw new GmemError(`the measurement ended: ${error}`)
    return result as BenchResults[Name]
  })
}

/** A terminal or a pipe, as far as a prompt in the guest needs one. */
export interface ShellTerminal {
  /** Null for a pipe: then nothing is echoed, coloured or prompted for. */
  readonly columns: number | null
  /** The listener takes what is typed, and null where that ends. */
  onInput(listener: (data: string | null) => void): void
  write(data: string): void
}

/** Connects a terminal with a Node prompt in a VM of a kernel; resolves when the prompt is left or the VM ends (or `signal` ends it). */
export async function shellInGuest(
  options: KernelPoolOptions,
  terminal: ShellTerminal,
  signal?: AbortSignal,
): Promise<'left' | 'ended'> {
  return await withSession(options, signal, async (session) => {
    return await new Promise((resolve) => {
      session.on('message', (message) => {
        if (message.type === 'shell-output') terminal.write(message.data)
        if (message.type === 'shell-exit') resolve('left')
      })
      session.on('exit', () => resolve('ended'))
      const send = (data: string | null): void =>
        session.send({ type: 'shell-input', data, columns: terminal.columns })
      terminal.onInput(send)
      send('')
    })
  })
}

async function withSession<T>(
  options: KernelPoolOptions,
  signal: AbortSignal | undefined,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  const source = new SessionSource(options)
  let session: Session | null = null
  const close = async (): Promise<void> => void (await Promise.all([source.close(), session?.close()]))
  const onAbort = (): void => void close()
  signal?.addEventListener('abort', onAbort)
  try {
    session = await source.take()
    if (signal?.aborted) throw interruptedError()
    return await use(session)
  } finally {
    signal?.removeEventListener('abort', onAbort)
    await close()
  }
}
