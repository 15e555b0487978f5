// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest'
import { KVM_EXIT } from '../../src/abi/index.js'
import type { RawExit } from '../../src/binding/addon.js'
import { decodeExit } from '../../src/kvm/decode-exit.js'

const DEADLINE_MS = 1000

function raw(fields: Partial<RawExit>, qwords: readonly bigint[] = []): RawExit {
  const payload = new Uint8Array(256)
  payload.set(new Uint8Array(BigUint64Array.from(qwords).buffer))
  const nothing = {
    ret: 0,
    errno: 0,
    code: '',
    ioData: new Uint8Array(0),
    deadlineExpired: false,
    kicked: false,
  }
  return { ...nothing, exitReason: 0, sigbus: null, payload, ...fields }
}

const decode = (fields: Partial<RawExit>, qwords?: readonly bigint[]) =>
  decodeExit(raw(fields, qwords), DEADLINE_MS)
const failed = (code: string, exitReason: number) => ({ ret: -1, errno: 1, code, exitReason })

describe('KVM_RUN that failed', () => {
  it.each(['EFAULT', 'EHWPOISON'] as const)('with %s and MEMORY_FAULT is a memory fault exit', (code) => {
    expect(decode(failed(code, KVM_EXIT.MEMORY_FAULT), [8n, 0x1000_3000n, 0x1000n])).toEqual({
      reason: 'MEMORY_FAULT',
      gpa: 0x1000_3000n,
      size: 0x1000n,
      flags: 8n,
      private: true,
      code,
    })
  })

  it('with EFAULT and no reason is an error that keeps the reason', () => {
    expect(decode(failed('EFAULT', KVM_EXIT.UNKNOWN))).toEqual({
      reason: 'ERROR',
      code: 'EFAULT',
      exitReason: 0,
    })
  })

  it('with another errno is an error, whatever stale reason is in kvm_run', () => {
    const stale = decode(failed('EINVAL', KVM_EXIT.MEMORY_FAULT), [8n, 0x1000n, 0x1000n])

    expect(stale).toEqual({ reason: 'ERROR', code: 'EINVAL', exitReason: 39 })
  })

  it('with EINTR is a deadline, a kick, or memory poisoned under the vCPU', () => {
    const interrupted = failed('EINTR', KVM_EXIT.INTR)
    const sigbus = { signal: 'SIGBUS', code: 4, address: 0x7f00n } as const

    expect(decode({ ...interrupted, deadlineExpired: true })).toEqual({
      reason: 'DEADLINE',
      deadlineMs: DEADLINE_MS,
    })
    expect(decode({ ...interrupted, kicked: true })).toEqual({ reason: 'INTR', kicked: true })
    expect(decode({ ...interrupted, sigbus })).toEqual({
      reason: 'SIGBUS',
      code: 'BUS_MCEERR_AR',
      address: 0x7f00n,
    })
  })
})

describe('KVM_RUN that succeeded', () => {
  it('with a memory fault reason but no errno is not a memory fault', () => {
    expect(decode({ exitReason: KVM_EXIT.MEMORY_FAULT })).toMatchObject({
      reason: 'UNKNOWN',
      name: 'MEMORY_FAULT',
    })
  })

  it('decodes a port write with its data', () => {
    const exit = decode({ exitReason: KVM_EXIT.IO, ioData: Uint8Array.of(1, 2) }, [0x1_07e0_0201n, 0x1000n])

    expect(exit).toEqual({
      reason: 'IO',
      direction: 'out',
      size: 2,
      port: 0x7e0,
      count: 1,
      data: Uint8Array.of(1, 2),
    })
  })

  it('gives a port read no data: what is there is stale', () => {
    const exit = decode({ exitReason: KVM_EXIT.IO, ioData: Uint8Array.of(9) }, [0x1_0060_0100n, 0x1000n])

    expect(exit).toMatchObject({ reason: 'IO', direction: 'in', data: new Uint8Array(0) })
  })

  it('decodes an MMIO write and cuts its data to the length', () => {
    const exit = decode({ exitReason: KVM_EXIT.MMIO }, [0x7000_0000n, 0xffff_ffff_1234_5678n, 0x1_0000_0004n])

    const data = Uint8Array.of(0x78, 0x56, 0x34, 0x12)
    expect(exit).toEqual({ reason: 'MMIO', gpa: 0x7000_0000n, length: 4, isWrite: true, data })
  })

  it('decodes a hypercall with its six arguments and flags', () => {
    const exit = decode({ exitReason: KVM_EXIT.HYPERCALL }, [12n, 1n, 2n, 3n, 4n, 5n, 6n, 99n, 1n])

    expect(exit).toEqual({ reason: 'HYPERCALL', nr: 12n, args: [1n, 2n, 3n, 4n, 5n, 6n], flags: 1n })
  })

  it('names the suberror and gives as many data words as the kernel counted', () => {
    const exit = decode({ exitReason: KVM_EXIT.INTERNAL_ERROR }, [0x2_0000_0001n, 7n, 8n, 9n])

    expect(exit).toEqual({ reason: 'INTERNAL_ERROR', suberror: 'EMULATION', data: [7n, 8n] })
  })

  it('keeps the numbers of what has no name', () => {
    expect(decode({ exitReason: KVM_EXIT.INTERNAL_ERROR }, [77n])).toMatchObject({ suberror: '77' })
    expect(decode({ exitReason: 4242 }, [5n])).toEqual({
      reason: 'UNKNOWN',
      exitReason: 4242,
      name: '',
      hardwareExitReason: 5n,
    })
  })

  it.each(['HLT', 'SHUTDOWN', 'DEBUG', 'NMI'] as const)('decodes %s, which carries nothing', (reason) => {
    expect(decode({ exitReason: KVM_EXIT[reason] })).toEqual({ reason })
  })
})
