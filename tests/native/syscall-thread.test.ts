// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { COPY_NUMBER } from '../../src/binding/addon.js'
import { addon, thrownBy } from './support.js'

const READ = 0
const CLOSE = 3
const PIPE2 = 293
const GETTID = 186
const WRITE = 1

describe('syscallsOnThread()', () => {
  test('issues its calls on a thread of its own', async () => {
    const [result] = await addon.syscallsOnThread([{ number: GETTID, args: [] }], 1)

    expect(result?.errors).toEqual({ '': 1 })
    expect(result?.value).not.toBe(addon.syscall(GETTID, []))
  })

  test('counts errnos and times each call, round by round', async () => {
    const results = await addon.syscallsOnThread(
      [
        { number: CLOSE, args: [-1] },
        { number: GETTID, args: [] },
      ],
      3,
    )

    expect(results.map(({ errors }) => errors)).toEqual([{ EBADF: 3 }, { '': 3 }])
    expect(results.map(({ value }) => value === -1n)).toEqual([true, false])
    expect(results.map(({ durationsNs }) => durationsNs.length)).toEqual([24, 24])
  })

  test('blocks nobody else: what it waits for can come from here', async () => {
    const ends = new Int32Array(2)
    addon.syscall(PIPE2, [new Uint8Array(ends.buffer), 0])
    const [readEnd = -1, writeEnd = -1] = ends
    const reading = addon.syscallsOnThread([{ number: READ, args: [readEnd, new Uint8Array(1), 1n] }], 1)

    addon.syscall(WRITE, [writeEnd, Uint8Array.of(7), 1n])
    const [result] = await reading
    addon.close(readEnd)
    addon.close(writeEnd)

    expect(result?.value).toBe(1n)
  })

  test('copies memory, and says where there is none with EFAULT instead of dying', async () => {
    const copy = { number: COPY_NUMBER, args: [Uint8Array.of(0, 0), Uint8Array.of(1, 2), 2] }
    const [copied, refused] = await addon.syscallsOnThread(
      [copy, { number: COPY_NUMBER, args: [4096, Uint8Array.of(1, 2), 2] }],
      1,
    )

    expect(copied).toMatchObject({ value: 2n, errors: { '': 1 } })
    expect(refused).toMatchObject({ value: -1n, errors: { EFAULT: 1 } })
  })

  test('is a misuse with no rounds, with too many, or without calls', () => {
    expect(thrownBy(() => addon.syscallsOnThread([], 0))).toBeInstanceOf(RangeError)
    expect(thrownBy(() => addon.syscallsOnThread([], 1_000_001))).toBeInstanceOf(RangeError)
    expect(thrownBy(() => addon.syscallsOnThread(null as never, 1))).toBeInstanceOf(TypeError)
    expect(
      thrownBy(() => addon.syscallsOnThread([{ number: GETTID, args: ['x' as never] }], 1)),
    ).toBeInstanceOf(TypeError)
  })
})
