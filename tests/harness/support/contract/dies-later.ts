// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from 'node:fs'
import { test } from 'gmem/testing'

/** Long enough for this file to end first, in ms. */
const LATER_MS = 2_000

test('passes, and the kernel dies of it later', () => {
  setTimeout(() => writeFileSync('/proc/sysrq-trigger', 'c'), LATER_MS)
})
