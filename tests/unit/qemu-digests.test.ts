// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { FileDigests } from '../../src/qemu/digests.js'

const LARGE = Buffer.alloc(64 * 1024, 'x')

test('two kernels of one process may write what they learnt at the same time', async () => {
  const folder = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-digests-`))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const [memory, file] = [join(folder, 'digests.json'), join(folder, 'large')]
  writeFileSync(file, LARGE)
  const both = await Promise.all([FileDigests.open(memory), FileDigests.open(memory)])
  await Promise.all(both.map((digests) => digests.digest(file)))

  await Promise.all(both.map((digests) => digests.close()))

  expect(readdirSync(folder).sort()).toEqual(['digests.json', 'large'])
})
