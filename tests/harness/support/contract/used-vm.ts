// SPDX-License-Identifier: Apache-2.0
import { existsSync, writeFileSync } from 'node:fs'
import { expect, test } from 'gmem/testing'

/** In the VM's own file system: whoever comes later in the same VM finds it. */
const NOTE = '/tmp/note-of-an-earlier-file'

const isUsed = existsSync(NOTE)

test('leaves a note', () => writeFileSync(NOTE, ''))

test('passes in a fresh VM only', () => expect(isUsed).toBe(false))
