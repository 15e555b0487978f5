// SPDX-License-Identifier: Apache-2.0
import { assert, describe, expect, it } from 'vitest'
import { UnexpectedExitError } from '../../src/kvm/index.js'
import {
  isAssertion,
  judgeKnownIssue,
  type KnownIssue,
  KnownIssueGoneError,
  knownOn,
} from '../../src/testing/known-issue.js'
import { expect as gmemExpect } from '../../src/testing/matchers.js'
import { releaseAtLeast, releaseMatches } from '../../src/testing/release.js'
import { thrownBy } from './thrown-by.js'

const issue: KnownIssue = {
  id: 'F3',
  symptom: 'exit_reason 0',
  expected: 'MEMORY_FAULT',
  kernels: ['7.3', '6.18'],
}
const splat: KnownIssue = { ...issue, id: 'F2', shows: 'splat' }
const complaint = new Error('WARNING: CPU: 0')

const assertions = {
  'a matcher of vitest': thrownBy(() => expect(1).toBe(2)),
  'a matcher of ours': thrownBy(() => gmemExpect({ reason: 'HLT' }).toBeDone()),
  'an assert of chai': thrownBy(() => assert.equal(1, 2)),
}

describe('what counts as a failed expectation', () => {
  it.each(Object.entries(assertions))('is %s', (_, error) => {
    expect(isAssertion(error)).toBe(true)
  })

  it('is not an error of the test or the kernel', () => {
    expect([new Error('x'), new TypeError('x'), null, 'x'].map(isAssertion)).toEqual([
      false,
      false,
      false,
      false,
    ])
  })
})

describe('a known issue that shows in an assertion', () => {
  it('is reported with what was seen', () => {
    const report = judgeKnownIssue(issue, '7.3.4', {
      failure: assertions['a matcher of ours'],
      complaint: null,
    })

    expect(report).toMatchObject({ id: 'F3', seen: expect.stringMatching(/expected DONE\n +got HLT/) })
  })

  it('fails the test when the body passes: the bug is gone', () => {
    const judge = () => judgeKnownIssue(issue, '7.3.5', { failure: null, complaint: null })

    expect(judge).toThrow(KnownIssueGoneError)
    expect(judge).toThrow(/F3 did not show on 7\.3\.5/)
  })

  it('does not excuse another error, nor a splat', () => {
    const broken = new TypeError('closed')
    const failure = assertions['a matcher of ours']

    expect(() => judgeKnownIssue(issue, '7.3', { failure: broken, complaint: null })).toThrow(broken)
    expect(() => judgeKnownIssue(issue, '7.3', { failure, complaint })).toThrow(complaint)
  })
})

describe('a known issue that shows as an exit', () => {
  const exit: KnownIssue = { ...issue, shows: 'exit' }
  const failure = new UnexpectedExitError('read64(0x1000)', { reason: 'HLT' })

  it('is reported with the operation that exited', () => {
    expect(judgeKnownIssue(exit, '7.3.4', { failure, complaint: null })).toMatchObject({
      seen: expect.stringContaining('read64(0x1000) did not complete'),
    })
  })

  it('does not excuse a failed expectation, nor is excused by a mark for those', () => {
    const expectation = assertions['a matcher of vitest']

    expect(() => judgeKnownIssue(exit, '7.3', { failure: expectation, complaint: null })).toThrow(/1 to be 2/)
    expect(() => judgeKnownIssue(issue, '7.3', { failure, complaint: null })).toThrow(UnexpectedExitError)
  })
})

describe('a known issue that shows as a splat', () => {
  it('is reported with the splat', () => {
    expect(judgeKnownIssue(splat, '7.3.4', { failure: null, complaint })).toMatchObject({
      seen: 'WARNING: CPU: 0',
    })
  })

  it('fails the test without one', () => {
    expect(() => judgeKnownIssue(splat, '7.3.4', { failure: null, complaint: null })).toThrow(
      KnownIssueGoneError,
    )
  })

  it('does not excuse a failed expectation', () => {
    const failure = assertions['a matcher of vitest']

    expect(() => judgeKnownIssue(splat, '7.3.4', { failure, complaint })).toThrow(/expected 1 to be 2/)
  })
})

describe('releases', () => {
  it('a mark holds for the series it names and no other', () => {
    expect(['7.3.4-gmem', '7.3', '6.18.44'].map((release) => knownOn(issue, release))).toEqual([
      true,
      true,
      true,
    ])
    expect(['7.4.0', '7.30.1', '6.1'].map((release) => knownOn(issue, release))).toEqual([
      false,
      false,
      false,
    ])
    expect(knownOn({ id: 'F9', symptom: '', expected: '' }, '9.9')).toBe(true)
    expect(knownOn({ ...issue, notOn: ['7.3.5'] }, '7.3.4')).toBe(true)
    expect(knownOn({ ...issue, notOn: ['7.3.5'] }, '7.3.5-gmem')).toBe(false)
  })

  it('match by whole numbers', () => {
    expect(releaseMatches('7.3.40', '7.3.4')).toBe(false)
    expect(releaseMatches('7.3.4+', '7.3.4')).toBe(true)
  })

  it('compare by numbers, not by text', () => {
    expect(releaseAtLeast('6.18.44-fc', '6.9')).toBe(true)
    expect(releaseAtLeast('7.2.9', '7.3')).toBe(false)
    expect(releaseAtLeast('7.3.4', '7.3.4')).toBe(true)
    expect(releaseAtLeast('7.4-rc1', '7.4')).toBe(true)
  })
})
