// SPDX-License-Identifier: Apache-2.0
import {
  KVM_MEMORY_ATTRIBUTE_PRIVATE,
  KVM_SET_MEMORY_ATTRIBUTES2,
  kvm_memory_attributes2,
  SYS,
} from 'gmem/abi'
import { binding, type GuestMemfd, type NativeCall, type Sharing, type Span } from 'gmem/kvm'

/** What one thread of a race does, in order, in each round. */
export type Racer = readonly NativeCall[]

/** A system call by name, for a thread of its own. */
export function call(name: keyof typeof SYS, ...args: NativeCall['args']): NativeCall {
  return { number: SYS[name], args }
}

/** KVM_SET_MEMORY_ATTRIBUTES2 for a range of a file, through `fd`. */
export function conversion(range: Span, to: Sharing, fd: number): NativeCall {
  const attributes = to === 'private' ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0n
  const argument = kvm_memory_attributes2.encode({ offset: range.offset, size: range.size, attributes })
  return call('ioctl', fd, KVM_SET_MEMORY_ATTRIBUTES2, argument)
}

/** Converts a range to private and back. */
export function backAndForth(file: GuestMemfd, range: Span = file.whole()): Racer {
  return [conversion(range, 'private', file.fd), conversion(range, 'shared', file.fd)]
}

/** Runs threads at the same time, so many rounds each. Comes back when all are done: which errnos each racer has seen, '' for success. */
export async function race(rounds: number, racers: readonly Racer[]): Promise<ReadonlySet<string>[]> {
  const running = racers.map((calls) => binding.addon.syscallsOnThread(calls, rounds))
  const results = await Promise.all(running)
  return results.map((calls) => new Set(calls.flatMap(({ errors }) => Object.keys(errors))))
}
