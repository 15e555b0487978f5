// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { addon, thrownBy } from './support.js'

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-read-files-`))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

test('files are read in order, each with a NUL after it, and what cannot be read is empty', () => {
  const [first, last] = [join(folder(), 'first'), join(folder(), 'last')]
  writeFileSync(first, 'one')
  writeFileSync(last, 'two\n')

  const contents = addon.readFiles([first, '/nowhere', '/', '', last].join('\n'))

  expect(Buffer.from(contents).toString()).toBe('one\0\0\0\0two\n\0')
})

test('a file without a size is read to its end', () => {
  const file = '/proc/self/maps'
  const mapsNow = (): string => readFileSync(file, 'latin1').split('\n')[0] ?? ''

  const contents = Buffer.from(addon.readFiles(file)).toString('latin1')

  expect(contents.length).toBeGreaterThan(4096)
  expect(contents.split('\n')[0]).toBe(mapsNow())
  expect(contents.endsWith('\n\0')).toBe(true)
})

test('paths that are no string are a TypeError', () => {
  // @ts-expect-error: what a caller in JavaScript may do.
  expect(thrownBy(() => addon.readFiles(['/proc/version']))).toBeInstanceOf(TypeError)
})
