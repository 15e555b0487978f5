// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

declare module '@vitest/runner' {
  interface TaskMeta {
    splats?: object[]
  }
}

test('passes', () => {})

test('sees the wrong byte', ({ task }) => {
  task.meta.trace = ['#1 vm#1.setMemoryAttributes(0x10000000, 0x1000, 0x8, 0x0)']
  expect(0xaan).toBe(0n)
})

test('compares two exits', () => {
  expect({ gpa: 0x1000n, size: 0x1000n }).toEqual({ gpa: 0x2000n, size: 0x1000n })
})

describe('with needs', () => {
  test('skips with a reason in its meta', ({ task, skip }) => {
    task.meta.skipReason = 'needs VM type SNP: not there'
    skip()
  })

  test('skips with a note', ({ skip }) => {
    skip('needs patience')
  })

  test.skip('skips without a word', () => {})
})

test('meets a known issue', ({ task }) => {
  task.meta.knownIssue = { id: 'F9', symptom: 'it is wrong', expected: 'right', seen: 'expected 1n to be 0n' }
})

test('splats', ({ task }) => {
  task.meta.splats = [
    { kind: 'WARN', title: 'WARNING in f', text: 'WARNING: a.c:1', fingerprint: 'f', firstSeq: 3 },
  ]
  throw Object.assign(new Error('the kernel complained'), { name: 'KernelSplat' })
})

test('takes too long', { timeout: 50 }, async () => {
  await new Promise(() => {})
})

let tries = 0
test('passes at the second try', { retry: 1 }, () => {
  tries += 1
  expect(tries).toBe(2)
})

describe('behind a hook that fails', () => {
  beforeAll(() => {
    throw new Error('no memory')
  })

  test('does not run', () => {})
})

describe('before a hook that fails', () => {
  afterAll(() => {
    throw new Error('left something behind')
  })

  test('passes all the same', () => {})
})

test.runIf(process.env.TARGET === 'host')('is only on the host', () => {})
