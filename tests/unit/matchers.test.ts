// SPDX-License-Identifier: Apache-2.0
import { describe, it } from 'vitest'
import { KernelError } from '../../src/binding/index.js'
import type { Exit } from '../../src/kvm/index.js'
import { expect } from '../../src/testing/matchers.js'
import { bytes, gpa, pages } from '../../src/units.js'

const refuse = (code: string) => () => {
  throw new KernelError(code, -1, 'KVM_CREATE_GUEST_MEMFD', 'text')
}

const fault: Exit = {
  reason: 'MEMORY_FAULT',
  gpa: gpa(0x1000_3000),
  size: pages(1),
  flags: 8n,
  private: true,
  code: 'EFAULT',
}

describe('toFailWith', () => {
  it('accepts the errno, with or without its system call', () => {
    expect(refuse('EINVAL')).toFailWith('EINVAL')
    expect(refuse('EINVAL')).toFailWith('EINVAL', 'KVM_CREATE_GUEST_MEMFD')
    expect(refuse('EINVAL')).not.toFailWith('EEXIST')
  })

  it('says which errno came instead', () => {
    expect(() => expect(refuse('EEXIST')).toFailWith('EINVAL')).toThrow(
      /expected failure with EINVAL\n +got EEXIST from KVM_CREATE_GUEST_MEMFD/,
    )
    expect(() => expect(refuse('EINVAL')).toFailWith('EINVAL', 'mmap')).toThrow(
      /failure with EINVAL from mmap/,
    )
  })

  it('says that nothing failed, and what came of it', () => {
    expect(() => expect(() => 0x10n).toFailWith('EINVAL')).toThrow(/got success \(0x10\)/)
  })

  it('does not take a mistake in the test for a refusal, even negated', () => {
    const misuse = () => {
      throw new TypeError('closed')
    }

    expect(() => expect(misuse).toFailWith('EINVAL')).toThrow(new TypeError('closed'))
    expect(() => expect(misuse).not.toFailWith('EINVAL')).toThrow(new TypeError('closed'))
  })

  it('judges promises and functions that return one', async () => {
    await expect(Promise.reject(new KernelError('EINTR', -4, 'fallocate', 'text'))).toFailWith('EINTR')
    await expect(async () => refuse('EINTR')()).toFailWith('EINTR')
    await expect(expect(Promise.resolve()).toFailWith('EINTR')).rejects.toThrow(/got success/)
  })

  it('judges a result that carries its errno', () => {
    expect({ code: 'ENOENT', gpa: 0n }).toFailWith('ENOENT')
    expect(() => expect({ code: '', gpa: 0x1000n }).toFailWith('ENOENT')).toThrow(/got success .*gpa: 0x1000/)
  })
})

describe('toBeMemoryFault', () => {
  it('compares what is given, and nothing else', () => {
    expect(fault).toBeMemoryFault()
    expect(fault).toBeMemoryFault({ gpa: gpa(0x1000_3000), private: true })
    expect(fault).not.toBeMemoryFault({ private: false })
  })

  it('shows addresses in hexadecimal and names what differs', () => {
    const wrong = () => expect(fault).toBeMemoryFault({ gpa: gpa(0x1000_4000), size: pages(1) })

    expect(wrong).toThrow(
      /expected MEMORY_FAULT { gpa: 0x10004000, size: 0x1000 }\n +got MEMORY_FAULT { gpa: 0x10003000,/,
    )
    expect(wrong).toThrow(/\(differs in gpa\)/)
  })

  it('shows the outcome that came instead', () => {
    const done = { reason: 'DONE', value: 0xaan }

    expect(() => expect(done).toBeMemoryFault()).toThrow(/expected MEMORY_FAULT\n +got DONE { value: 0xaa }/)
  })

  it('refuses what is no outcome, even negated', () => {
    expect(() => expect(0n).not.toBeMemoryFault()).toThrow(TypeError)
  })
})

describe('toBeDone and toBeExit', () => {
  it('compare the value only where one is given', () => {
    const done = { reason: 'DONE', value: 5n }

    expect(done).toBeDone()
    expect(done).toBeDone(5n)
    expect(done).not.toBeDone(6n)
    expect({ reason: 'DONE', value: undefined }).not.toBeDone(0n)
    expect(fault).not.toBeDone()
  })

  it('tell a value of undefined from no value', () => {
    expect({ reason: 'DONE', value: 5n }).not.toBeDone(undefined)
  })

  it('compare nested fields by value', () => {
    const exit = { reason: 'MMIO', gpa: 0x7000n, length: 1, isWrite: true, data: Uint8Array.of(7) }

    expect(exit).toBeExit({ reason: 'MMIO', data: Uint8Array.of(7) })
    expect(exit).not.toBeExit({ reason: 'MMIO', data: Uint8Array.of(8) })
    expect(exit).not.toBeExit({ reason: 'IO' })
  })
})

describe('toBeSignal', () => {
  const sigbus = { ok: false, signal: 'SIGBUS', code: 'BUS_ADRERR', address: 0x7f00n }

  it('compares signal, code and address', () => {
    expect(sigbus).toBeSignal('SIGBUS')
    expect(sigbus).toBeSignal('SIGBUS', { code: 'BUS_ADRERR', address: 0x7f00n })
    expect(sigbus).not.toBeSignal('SIGSEGV')
    expect(sigbus).not.toBeSignal('SIGBUS', { code: 'BUS_MCEERR_AR' })
  })

  it('says what an access gave that raised none', () => {
    expect(() => expect({ ok: true, value: 0xaan }).toBeSignal('SIGBUS')).toThrow(
      /got no signal: the access gave 0xaa/,
    )
  })
})

describe('memory matchers', () => {
  it('name the first wrong byte and its offset', () => {
    const data = new Uint8Array(16).fill(0xaa)
    data[9] = 0xbb

    expect(data.subarray(0, 9)).toBeFilledWith(0xaa)
    expect(() => expect(data).toBeFilledWith(0xaa)).toThrow(/every byte to be 0xaa\n +got 0xbb at offset 0x9/)
  })

  it('compare addresses in hexadecimal', () => {
    expect(gpa(0x1000)).toEqualGpa(0x1000n)
    expect(() => expect(gpa(0x1000)).toEqualGpa(bytes(0x2000))).toThrow(/expected 0x2000\n +got 0x1000/)
  })
})
