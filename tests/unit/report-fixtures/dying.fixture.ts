// SPDX-License-Identifier: Apache-2.0
import { test } from 'vitest'

test('comes first', () => {})

test('takes its worker along', async () => {
  process.kill(process.pid, 'SIGKILL')
  await new Promise(() => {})
})

test('comes after it', () => {})
