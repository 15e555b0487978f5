// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'gmem/testing'

const MINUTE_MS = 60_000

test('the first one', () => {})

test('the long one', { timeoutMs: MINUTE_MS }, async () => {
  writeFileSync('/dev/kmsg', '<4>the long one runs\n')
  await sleep(10 * MINUTE_MS)
})

test('the last one', () => {})
