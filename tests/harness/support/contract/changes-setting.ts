// SPDX-License-Identifier: Apache-2.0
import { readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'gmem/testing'

const SWAPPINESS = '/proc/sys/vm/swappiness'

test('finds a setting as it was, and changes it', () => {
  expect(readFileSync(SWAPPINESS, 'latin1').trim()).toBe('60')
  writeFileSync(SWAPPINESS, '61')
})
