// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'gmem/testing'

test('fails in every VM', () => expect(1).toBe(2))
