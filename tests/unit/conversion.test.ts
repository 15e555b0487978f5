// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest'
import { kvm_gmem_convert, kvm_memory_attributes2 } from '../../src/abi/index.js'
import { KernelError } from '../../src/binding/index.js'
import { attemptAttributes, ConversionError, convert, setAttributes } from '../../src/kvm/conversion.js'
import { convertWithRetry } from '../../src/kvm/conversion-retry.js'
import { bytes, pages } from '../../src/units.js'
import { thrownBy } from './thrown-by.js'

const [ATTRIBUTES2, CONVERT_SHARED, CONVERT_PRIVATE] = [0xc080_aed2, 0xc040_af41, 0xc040_af42]
const RANGE = { offset: pages(1), size: pages(2) }
const REQUEST = { ...RANGE, attributes: 8n }

function refusal(code: string, errno: number): KernelError {
  return new KernelError(code, errno, 'ioctl(0xc080aed2)', 'Some, words')
}

const eagain = () => refusal('EAGAIN', -11)

/** An ioctl that knows the given requests; the others are ENOTTY. */
function kernel(known: Readonly<Record<number, (argument: Uint8Array) => void>>) {
  const asked: number[] = []
  const ioctl = (request: number, argument: Uint8Array): number => {
    asked.push(request)
    const answer = known[request]
    if (answer === undefined) throw refusal('ENOTTY', -25)
    answer(argument)
    return 0
  }
  return { asked, ioctl }
}

/** What the kernel does for EAGAIN: it writes the offset into the struct, and refuses. */
function blockedAt(offset: bigint, field: number) {
  return (argument: Uint8Array) => {
    new DataView(argument.buffer).setBigUint64(field, offset, true)
    throw eagain()
  }
}

describe('setAttributes', () => {
  it('carries the offset that the kernel wrote, in the error and in its message', () => {
    const { ioctl } = kernel({ [ATTRIBUTES2]: blockedAt(0x2000n, 32) })

    const error = thrownBy(() => setAttributes(ioctl, REQUEST))

    expect(error).toBeInstanceOf(ConversionError)
    expect(error).toMatchObject({
      code: 'EAGAIN',
      errno: -11,
      syscall: 'KVM_SET_MEMORY_ATTRIBUTES2',
      errorOffset: 0x2000n,
      message: 'EAGAIN: Some, words at offset 0x2000, KVM_SET_MEMORY_ATTRIBUTES2',
    })
  })

  it('knows offset 0 from none', () => {
    const silent = () => {
      throw eagain()
    }

    const zero = thrownBy(() => setAttributes(kernel({ [ATTRIBUTES2]: blockedAt(0n, 32) }).ioctl, REQUEST))
    const none = thrownBy(() => setAttributes(kernel({ [ATTRIBUTES2]: silent }).ioctl, REQUEST))

    expect(zero).toMatchObject({ errorOffset: 0n })
    expect(none).toMatchObject({ errorOffset: null, message: expect.not.stringContaining('offset') })
  })

  it('passes on what is no refusal of the kernel', () => {
    const closed = () => {
      throw new TypeError('closed')
    }

    expect(thrownBy(() => setAttributes(closed, REQUEST))).toBeInstanceOf(TypeError)
  })
})

describe('attemptAttributes', () => {
  it('sends what it is given and returns what came back', () => {
    const { ioctl } = kernel({ [ATTRIBUTES2]: blockedAt(0x2000n, 32) })

    const { code, struct } = attemptAttributes(ioctl, { ...REQUEST, flags: 5n, error_offset: 7n })

    expect(code).toBe('EAGAIN')
    expect(struct).toMatchObject({ ...REQUEST, flags: 5n, error_offset: 0x2000n })
  })
})

describe('convert', () => {
  it('asks the newest ioctl, and no other where that works', () => {
    const arguments_: Uint8Array[] = []
    const { asked, ioctl } = kernel({ [ATTRIBUTES2]: (argument) => arguments_.push(argument) })

    convert(ioctl, RANGE, 'private')
    convert(ioctl, RANGE, 'shared')

    const attributes = arguments_.map((each) => kvm_memory_attributes2.decode(each).attributes)
    expect(asked).toEqual([ATTRIBUTES2, ATTRIBUTES2])
    expect(attributes).toEqual([8n, 0n])
  })

  it('asks the older ones where the newest is ENOTTY, with 0 as error_offset', () => {
    const arguments_: Uint8Array[] = []
    const keep = (argument: Uint8Array) => void arguments_.push(argument)
    const { asked, ioctl } = kernel({ [CONVERT_SHARED]: keep, [CONVERT_PRIVATE]: keep })

    convert(ioctl, RANGE, 'private')
    convert(ioctl, RANGE, 'shared')

    expect(asked).toEqual([ATTRIBUTES2, CONVERT_PRIVATE, ATTRIBUTES2, CONVERT_SHARED])
    expect(arguments_.map((each) => kvm_gmem_convert.decode(each).error_offset)).toEqual([0n, 0n])
  })

  it('carries the offset of the older one', () => {
    const { ioctl } = kernel({ [CONVERT_PRIVATE]: blockedAt(0n, 16) })

    const error = thrownBy(() => convert(ioctl, RANGE, 'private'))

    expect(error).toMatchObject({ code: 'EAGAIN', syscall: 'KVM_GMEM_CONVERT_PRIVATE', errorOffset: 0n })
  })

  it('is ENOTTY of the newest one where there is none', () => {
    const error = thrownBy(() => convert(kernel({}).ioctl, RANGE, 'private'))

    expect(error).toMatchObject({ code: 'ENOTTY', syscall: 'KVM_SET_MEMORY_ATTRIBUTES2', errorOffset: null })
  })

  it('does not ask the older ones where the newest refuses', () => {
    const { asked, ioctl } = kernel({ [ATTRIBUTES2]: blockedAt(0n, 32), [CONVERT_PRIVATE]: () => {} })

    expect(thrownBy(() => convert(ioctl, RANGE, 'private'))).toMatchObject({ code: 'EAGAIN' })
    expect(asked).toEqual([ATTRIBUTES2])
  })
})

describe('convertWithRetry', () => {
  const conversion = { range: RANGE, to: 'private' as const }
  const blocked = (offset: bigint | null) =>
    new ConversionError(eagain(), 'KVM_SET_MEMORY_ATTRIBUTES2', offset === null ? null : bytes(offset))

  /** A file whose conversions fail with these errors, one after the other, and then work. */
  function fileThatFailsWith(...errors: Error[]) {
    return {
      convert: () => {
        const error = errors.shift()
        if (error !== undefined) throw error
      },
    }
  }

  it('releases one page after the other and says how often it tried', async () => {
    const told: unknown[] = []
    const file = fileThatFailsWith(blocked(0x1000n), blocked(0x2000n))

    const attempts = await convertWithRetry(file, conversion, { release: (page) => void told.push(page) })

    expect(attempts).toBe(3)
    expect(told).toEqual([
      { offset: 0x1000n, attempts: 1 },
      { offset: 0x2000n, attempts: 2 },
    ])
  })

  it('waits for the release', async () => {
    const order: string[] = []
    const file = { convert: fileThatFailsWith(blocked(0x1000n)).convert }
    const release = async () => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      order.push('released')
    }

    await convertWithRetry(file, conversion, { release })
    order.push('converted')

    expect(order).toEqual(['released', 'converted'])
  })

  it('throws the last refusal when there were enough', async () => {
    const file = fileThatFailsWith(blocked(0x1000n), blocked(0x2000n), blocked(0x3000n))

    const converting = convertWithRetry(file, conversion, { release: () => {}, attemptsMax: 2 })

    await expect(converting).rejects.toMatchObject({ code: 'EAGAIN', errorOffset: 0x2000n })
  })

  it.each([
    ['another errno', new ConversionError(refusal('ENOMEM', -12), 'x', bytes(0))],
    ['no offset', blocked(null)],
    ['another error', new TypeError('closed')],
  ])('throws %s at once', async (_, error) => {
    const release = () => {
      throw new Error('released')
    }

    await expect(convertWithRetry(fileThatFailsWith(error), conversion, { release })).rejects.toBe(error)
  })

  it('ends with its signal', async () => {
    const stop = new AbortController()
    const file = {
      convert: () => {
        throw blocked(0x1000n)
      },
    }

    const converting = convertWithRetry(file, conversion, {
      release: ({ attempts }) => (attempts === 3 ? stop.abort(new Error('stopped')) : undefined),
      signal: stop.signal,
    })

    await expect(converting).rejects.toThrow('stopped')
  })
})
