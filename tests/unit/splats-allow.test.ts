// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { findAllowed, parseAllowFile } from '../../src/splats/allow.js'
import { detectSplats } from '../../src/splats/detect.js'
import type { Splat } from '../../src/splats/types.js'
import { logLines } from './splats-samples.js'

const WARN = detectSplats(logLines('warnings.kmsg'))[0] as Splat

describe('an allow file', () => {
  test('has entries with reason, link and kernels', () => {
    const text =
      '# what we know of\nWARN:plant_warn\n  reason: planted\n  link: a-mail\n  kernels: 7.3.*, 6.18.44\n\n/planted/\n\treason: by us\n'
    expect(parseAllowFile(text, 'allow')).toEqual([
      {
        fingerprint: 'WARN:plant_warn',
        title: null,
        reason: 'planted',
        link: 'a-mail',
        kernels: ['7.3.*', '6.18.44'],
        line: 2,
      },
      { fingerprint: null, title: /planted/, reason: 'by us', link: null, kernels: [], line: 7 },
    ])
  })

  test('may be empty', () => {
    expect(parseAllowFile('', 'allow')).toEqual([])
    expect(parseAllowFile('# nothing\n\n', 'allow')).toEqual([])
  })

  test.each([
    [
      'no reason',
      'WARN:x\n\nWARN:y\n  reason: known\n',
      'known.allow:1: this entry has no reason: add an indented line "reason: why it may pass"',
    ],
    [
      'an empty reason',
      '\nWARN:x\n  reason:  \n',
      'known.allow:2: this entry has no reason: add an indented line "reason: why it may pass"',
    ],
    [
      'an unknown field',
      'WARN:x\n  because: known\n',
      'known.allow:2: expected one of "reason:", "link:", "kernels:"',
    ],
    [
      'a field twice',
      'WARN:x\n  reason: a\n  reason: b\n',
      'known.allow:3: "reason:" is given twice for one entry',
    ],
    [
      'a field without an entry',
      '  reason: a\n',
      'known.allow:1: "reason:" belongs under a fingerprint or a /title/, and there is none above it',
    ],
    ['an open title', '/x\n  reason: a\n', 'known.allow:1: a title is given as /regular expression/'],
    ['an empty title', '//\n  reason: a\n', 'known.allow:1: a title is given as /regular expression/'],
    [
      'a broken title',
      '/(/\n  reason: a\n',
      'known.allow:1: Invalid regular expression: /(/: Unterminated group',
    ],
  ])('with %s is an error that names the line', (_, text, message) => {
    expect(() => parseAllowFile(text, 'known.allow')).toThrow(message)
  })
})

describe('an entry lets pass', () => {
  const allowed = (text: string, release = '7.3.4') =>
    findAllowed(parseAllowFile(`${text}\n  reason: known\n`, 'allow'), WARN, release)

  test.each([
    'WARN:plant_warn',
    'WARN:plant_warn:plant_write',
    WARN.fingerprint,
    '/plant_warn/',
    '/^WARNING: gmem_plant\\.c:\\d+ at/',
  ])('what %s fits', (matcher) => {
    expect(allowed(matcher)?.reason).toBe('known')
  })

  test.each(['WARN:plant', 'KASAN:plant_warn', `${WARN.fingerprint}:main`, '/plant_bug/', '/^plant_warn/'])(
    'nothing that %s does not fit',
    (matcher) => {
      expect(allowed(matcher)).toBeNull()
    },
  )

  test('only on its kernels', () => {
    const entry = 'WARN:plant_warn\n  kernels: 7.3.*'
    expect(allowed(entry, '7.3.4-gmem')).not.toBeNull()
    expect(allowed(entry, '7.30.4')).toBeNull()
    expect(allowed(entry, '6.18.44')).toBeNull()
  })
})
