// SPDX-License-Identifier: Apache-2.0
import { test } from 'vitest'

test('never gets there', () => {})

throw new Error('the file is broken')
