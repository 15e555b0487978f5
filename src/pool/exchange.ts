// SPDX-License-Identifier: Apache-2.0
import { promisify } from 'node:util'
import { deflateRaw } from 'node:zlib'
import { interruptedError } from '../errors.js'
import { SavedVmError } from '../qemu/errors.js'
import type { GuestFile, Initramfs } from '../qemu/initramfs.js'
import type { SavedState } from '../qemu/machine.js'
import { discardSaved } from '../qemu/saved.js'
import type { Session } from './session.js'

/** Sending some MiB and loading two modules in an emulated guest takes two seconds, in ms. */
const EXCHANGE_MS_MAX = 60_000

/** The guest reads 4 KiB at a time, which takes it longer than to inflate them. */
const deflate = promisify<Buffer, Buffer>(deflateRaw)

/** What is said where VMs of another kernel serve. */
export const RELATED = 'same bzImage as a kernel that has a saved VM: its copies get this one’s KVM modules'

/** All VMs of a kernel are given the same. */
const deflated = new WeakMap<GuestFile, Promise<Buffer>>()

/**
 * Gives a copy of a related saved VM those files of its own kernel that it does not have. Error where it cannot take them; InfrastructureError
 * where it dies of them.
 */
export async function exchangeKvm(session: Session, { exchangeable }: Initramfs): Promise<void> {
  const missing = exchangeable.filter(({ path, digest }) => session.fileDigests[path] !== digest)
  const files = await Promise.all(
    missing.map(async (file) => ({ path: file.path, deflated: await deflatedOf(file) })),
  )
  const answer = session.next('exchanged', EXCHANGE_MS_MAX)
  session.send({ type: 'exchange', files })
  const { error } = await answer
  if (error !== '') throw new Error(error)
}

/** Takes KVM out of a VM that will be given another; exchangeKvm() puts that in. Error where it cannot be taken out. */
export async function unloadKvm(session: Session, { exchangeable }: Initramfs): Promise<void> {
  const answer = session.next('kvm-unloaded', EXCHANGE_MS_MAX)
  session.send({ type: 'unload-kvm', paths: exchangeable.map(({ path }) => path) })
  const { error, digests } = await answer
  if (error !== '') throw new Error(error)
  session.fileDigests = digests
}

function deflatedOf(file: GuestFile): Promise<Buffer> {
  const known = deflated.get(file) ?? file.read().then((data) => deflate(data))
  deflated.set(file, known)
  return known
}

/**
 * What is said of a saved VM that could not be used; one of the kernel's own goes. Where `signal` fired, its copies were ended on purpose, and
 * it is as good as before.
 */
export async function notRestored(
  saved: SavedState,
  { id, signal }: { readonly id: string; readonly signal: AbortSignal },
  cause: unknown,
): Promise<Error> {
  if (signal.aborted) return interruptedError()
  if (saved.isRelated)
    return new SavedVmError(`a saved VM did not take ${id}’s KVM modules (${String(cause)})`, { cause })
  await discardSaved(saved)
  return new SavedVmError(`a saved VM of ${id} did not wake up`, { cause })
}
