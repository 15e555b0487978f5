// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { type CpioEntry, writeCpio } from '../../src/qemu/cpio.js'

const pack = (entries: CpioEntry[]): Buffer => Buffer.concat([...writeCpio(entries)])
const file = (path: string, text: string, mode?: number): CpioEntry => ({
  type: 'file',
  path,
  data: Buffer.from(text),
  ...(mode !== undefined && { mode }),
})

interface Member {
  readonly name: string
  readonly mode: number
  readonly inode: number
  readonly rdev: readonly [number, number]
  readonly data: string
}

/** Reads an archive the way the kernel's init/initramfs.c does: header, name padded to 4, data padded to 4. */
function unpack(archive: Buffer): Member[] {
  const members: Member[] = []
  for (let offset = 0; offset < archive.length; ) {
    expect(archive.toString('latin1', offset, offset + 6)).toBe('070701')
    const field = (index: number): number =>
      Number.parseInt(archive.toString('latin1', offset + 6 + index * 8, offset + 14 + index * 8), 16)
    const nameEnd = offset + 110 + field(11)
    const dataStart = nameEnd + ((4 - ((110 + field(11)) % 4)) % 4)
    const dataEnd = dataStart + field(6)
    members.push({
      name: archive.toString('utf8', offset + 110, nameEnd - 1),
      mode: field(1),
      inode: field(0),
      rdev: [field(9), field(10)],
      data: archive.toString('utf8', dataStart, dataEnd),
    })
    offset = dataEnd + ((4 - (field(6) % 4)) % 4)
  }
  return members
}

describe('the newc archive', () => {
  test('keeps contents of every length modulo the padding', () => {
    const texts = ['', 'a', 'ab', 'abc', 'abcd', 'abcde']
    const members = unpack(pack(texts.map((text, index) => file(`/f${index}`, text))))
    expect(members.slice(0, -1).map(({ data }) => data)).toEqual(texts)
  })

  test('ends with the trailer, after which nothing comes', () => {
    expect(unpack(pack([file('/a', 'x')])).at(-1)?.name).toBe('TRAILER!!!')
  })

  test('puts every parent directory before what is in it', () => {
    const names = unpack(pack([file('/usr/lib/x/y.so', ''), file('/usr/bin/node', '')])).map(
      ({ name }) => name,
    )
    for (const [index, name] of names.entries()) {
      const parent = name.slice(0, Math.max(name.lastIndexOf('/'), 0))
      expect(parent === '' || names.indexOf(parent) < index, name).toBe(true)
    }
  })

  test('a directory that was named keeps its mode when it is also a parent', () => {
    const members = unpack(pack([file('/tmp/a', ''), { type: 'directory', path: '/tmp', mode: 0o1777 }]))
    expect(members.filter(({ name }) => name === 'tmp').map(({ mode }) => mode)).toEqual([0o041777])
  })

  test('a device node carries its type, mode, major and minor', () => {
    const [, node] = unpack(pack([{ type: 'char', path: '/dev/console', mode: 0o600, major: 5, minor: 1 }]))
    expect(node).toMatchObject({ name: 'dev/console', mode: 0o020600, rdev: [5, 1] })
  })

  test('the same entries in another order give the same bytes', () => {
    const entries = [file('/b', '2'), file('/a/c', '1', 0o755), file('/a', '3')]
    expect(pack([...entries].reverse()).equals(pack(entries))).toBe(true)
  })

  test('inode numbers are unique, so that no two files become hard links', () => {
    const members = unpack(pack([file('/a/b', ''), file('/a/c', ''), file('/d', '')])).slice(0, -1)
    expect(new Set(members.map(({ inode }) => inode)).size).toBe(members.length)
  })

  test('a path that comes twice is packed once, the last', () => {
    const members = unpack(pack([file('/a', 'first'), file('/a', 'second')]))
    expect(members.filter(({ name }) => name === 'a').map(({ data }) => data)).toEqual(['second'])
  })

  test('a relative path is refused', () => {
    expect(() => pack([file('etc/passwd', '')])).toThrow(TypeError)
  })

  test('a name in UTF-8 counts in bytes', () => {
    expect(unpack(pack([file('/größe', 'x'), file('/z', 'y')])).map(({ name }) => name)).toContain('größe')
  })
})
