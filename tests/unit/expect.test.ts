// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check'
import { describe, it, expect as vitestExpect } from 'vitest'
import { KernelError } from '../../src/binding/index.js'
import { certainlyEqual } from '../../src/testing/certainly-equal.js'
import { expect } from '../../src/testing/matchers.js'
import { thrownBy } from './thrown-by.js'

const plain = fc.anything({
  withBigInt: true,
  withNullPrototype: true,
  withSparseArray: true,
  withDate: true,
})

describe('certainlyEqual', () => {
  it('never accepts what toEqual() refuses', () => {
    fc.assert(
      fc.property(plain, plain, (left, right) => {
        if (certainlyEqual(left, right)) vitestExpect(left).toEqual(right)
      }),
    )
  })

  it('accepts a copy of plain data', () => {
    const data = fc.anything({ withBigInt: true, maxDepth: 4 })
    fc.assert(
      fc.property(data, (value) => {
        vitestExpect(certainlyEqual(value, structuredClone(value))).toBe(true)
      }),
    )
  })

  it.each([
    ['bytes', Uint8Array.of(1, 2), Uint8Array.of(1, 3)],
    ['a longer list', [1], [1, 2]],
    ['a field more', { a: 1 }, { a: 1, b: 2 }],
    ['another field', { a: 1 }, { b: 1 }],
    ['the sign of zero', { a: 0 }, { a: -0 }],
    ['a number for a bigint', { a: 1 }, { a: 1n }],
    ['a symbol', { a: 1 }, { a: 1, [Symbol('b')]: 2 }],
  ])('tells apart %s', (_, left, right) => {
    vitestExpect(certainlyEqual(left, right)).toBe(false)
  })

  it('leaves cycles and asymmetric matchers to vitest', () => {
    const [left, right] = [{ self: {} }, { self: {} }]
    Object.assign(left, { self: left })
    Object.assign(right, { self: right })

    vitestExpect(certainlyEqual(left, right)).toBe(false)
    vitestExpect(certainlyEqual({ a: 1 }, { a: vitestExpect.any(Number) })).toBe(false)
    expect({ a: 1 }).toEqual({ a: expect.any(Number) })
  })
})

describe('expect', () => {
  it.each([
    ['toBe', (to: typeof expect) => to(1n).toBe(2n)],
    ['toBe of zeros', (to: typeof expect) => to(0).toBe(-0)],
    ['toEqual', (to: typeof expect) => to({ a: [1n] }).toEqual({ a: [2n] })],
    ['not.toBe', (to: typeof expect) => to(1n).not.toBe(1n)],
    ['toThrow', (to: typeof expect) => to(() => {}).toThrow('x')],
    ['a chain of chai', (to: typeof expect) => to([1]).to.include(2)],
    ['a word of chai', (to: typeof expect) => to([1]).to.be.a('string').that.is.ok],
    ['a message of its own', (to: typeof expect) => to(1, 'the first').toBe(2)],
  ])('fails as vitest’s does: %s', (_, body) => {
    const [ours, theirs] = [thrownBy(() => body(expect)), thrownBy(() => body(vitestExpect))] as Error[]

    vitestExpect(theirs).toBeInstanceOf(Error)
    vitestExpect({ ...ours, name: ours?.name, message: ours?.message }).toEqual({
      ...theirs,
      name: theirs?.name,
      message: theirs?.message,
    })
  })

  it('names the line of the test, not its own', () => {
    const error = thrownBy(() => expect(1).toBe(2)) as Error

    vitestExpect(error.stack).toContain('expect.test.ts')
    vitestExpect(error.stack).not.toMatch(/testing\/expect\.[jt]s/)
  })

  it('judges once: a system call that is refused another time is another result', () => {
    let calls = 0
    const refused = () => {
      calls += 1
      throw new KernelError(calls === 1 ? 'EEXIST' : 'EINVAL', -1, 'KVM_CREATE_VM', 'text')
    }

    vitestExpect(() => expect(refused).toFailWith('EINVAL')).toThrow(/got EEXIST/)
    vitestExpect(calls).toBe(1)
  })

  it('judges a promise once, too', async () => {
    const refused = Promise.reject(new KernelError('EEXIST', -1, 'KVM_CREATE_VM', 'text'))

    await vitestExpect(expect(refused).toFailWith('EINVAL')).rejects.toThrow(/got EEXIST/)
  })

  it('forgets a verdict that vitest did not take', () => {
    vitestExpect(() => expect(() => 1n).toFailWith('EINVAL')).toThrow(/got success/)
    const refused = () => {
      throw new KernelError('EINVAL', -1, 'KVM_CREATE_VM', 'text')
    }

    expect(refused).toFailWith('EINVAL')
    expect(refused).not.toFailWith('EEXIST')
  })

  it('is counted by expect.assertions()', () => {
    expect.assertions(4)

    expect(1).toBe(1)
    expect([1]).toEqual([1])
    expect({ code: 'ENOENT' }).toFailWith('ENOENT')
    expect(2).toBeGreaterThan(1)
  })

  it('offers what a test adds', () => {
    expect.extend({ toBeOdd: (received: number) => ({ pass: received % 2 === 1, message: () => 'even' }) })
    // SAFETY: the matcher was added one line above.
    const odd = (value: number) => expect(value) as unknown as { toBeOdd(): void }

    odd(1).toBeOdd()
    vitestExpect(() => odd(2).toBeOdd()).toThrow('even')
  })

  it('refuses a matcher that there is not', () => {
    // SAFETY: not safe at all; that is the point.
    const typo = expect(1) as unknown as { toBeh(value: number): void }

    vitestExpect(() => typo.toBeh(1)).toThrow(/toBeh/)
  })
})
