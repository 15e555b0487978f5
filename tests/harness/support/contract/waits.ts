// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'gmem/testing'

test('waits', { timeoutMs: 60_000 }, () => sleep(6_000))
