// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { FileDigests } from '../../src/qemu/digests.js'

const SHA256_OF_X = '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881'
const SHA256_OF_Y = 'a1fce4363854ff888cff4b8e7875d600c2682390412a8cf79b37d0b11148b0fa'

test('two kernels of one process may write what they learnt at the same time', async () => {
  const { folder, memory, file } = files()
  later()
  const both = await Promise.all([FileDigests.open(memory), FileDigests.open(memory)])
  await Promise.all(both.map((digests) => digests.digest(file)))

  await Promise.all(both.map((digests) => digests.close()))

  expect(readdirSync(folder).sort()).toEqual(['digests.json', 'file'])
})

describe('a digest', () => {
  test('is remembered with how the file looks', async () => {
    const { memory, file } = files()
    later()
    await learn(memory, file)
    const stored = JSON.parse(readFileSync(memory, 'utf8'))
    expect(stored).toMatchObject({ [file]: { size: '1', sha256: SHA256_OF_X } })

    // What the memory says is believed for a file that looks the same.
    writeFileSync(memory, JSON.stringify({ [file]: { ...stored[file], sha256: 'as remembered' } }))
    expect(await learn(memory, file)).toBe('as remembered')
  })

  test('is taken anew of a file that was written, be it as long as before', async () => {
    const { memory, file } = files()
    later()
    await learn(memory, file)
    writeFileSync(file, 'y')
    expect(await learn(memory, file)).toBe(SHA256_OF_Y)
  })

  test('is not remembered of a file that was written a moment ago', async () => {
    const { folder, memory, file } = files()
    expect(await learn(memory, file)).toBe(SHA256_OF_X)
    expect(readdirSync(folder)).toEqual(['file'])
  })

  test('is forgotten with its file', async () => {
    const { folder, memory, file } = files()
    later()
    await learn(memory, file)
    const other = join(folder, 'other')
    writeFileSync(other, 'y')
    rmSync(file)
    await learn(memory, other)
    expect(Object.keys(JSON.parse(readFileSync(memory, 'utf8')))).toEqual([other])
  })
})

function files(): { folder: string; memory: string; file: string } {
  const folder = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-digests-`))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'file')
  writeFileSync(file, 'x')
  return { folder, memory: join(folder, 'digests.json'), file }
}

/** Long after the files were written. */
function later(): void {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 60_000 })
  onTestFinished(() => void vi.useRealTimers())
}

async function learn(memory: string, file: string): Promise<string> {
  const digests = await FileDigests.open(memory)
  const { digest } = await digests.digest(file)
  await digests.close()
  return digest
}
