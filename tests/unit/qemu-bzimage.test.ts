// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { BzImageError, readBzImageRelease } from '../../src/kernels/bzimage.js'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-bzimage-`))
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** A file with the fields of the boot protocol that are read, at their documented offsets. */
function imageWith(change: (image: Buffer) => void = () => {}): string {
  const image = Buffer.alloc(16384)
  image.write('HdrS', 0x202, 'latin1')
  image.writeUInt16LE(0x20f, 0x206)
  image.writeUInt16LE(0x3000, 0x20e)
  image.writeUInt16LE(1, 0x236)
  image.write('7.3.4-gmem (root@vm) #1 SMP\0', 0x3200, 'latin1')
  change(image)
  const path = join(folder, 'bzImage')
  writeFileSync(path, image)
  return path
}

describe("a bzImage's release", () => {
  test('is the first word of the version string, 0x200 after where the header points', async () => {
    expect(await readBzImageRelease(imageWith())).toBe('7.3.4-gmem')
  })

  test.each<[string, (image: Buffer) => void, RegExp]>([
    ['without the magic', (image) => image.write('HdrX', 0x202, 'latin1'), /no "HdrS" at offset 0x202/],
    ['that is a vmlinux', (image) => image.fill(0).write('\x7fELF', 0, 'latin1'), /ELF file/],
    ['for 32 bits', (image) => image.writeUInt16LE(0, 0x236), /not a 64-bit kernel/],
    ['of a protocol before xloadflags', (image) => image.writeUInt16LE(0x20b, 0x206), /not a 64-bit kernel/],
    ['without a version', (image) => image.fill(0, 0x3200), /names no kernel release/],
  ])('a file %s is refused with the reason', async (_what, change, message) => {
    await expect(readBzImageRelease(imageWith(change))).rejects.toThrow(message)
  })

  test('an empty file, a folder and a missing file are errors of the same class', async () => {
    writeFileSync(join(folder, 'empty'), '')
    for (const path of [join(folder, 'empty'), folder, join(folder, 'missing')]) {
      await expect(readBzImageRelease(path)).rejects.toBeInstanceOf(BzImageError)
    }
  })
})
