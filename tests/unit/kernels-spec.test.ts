// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { GmemError } from '../../src/errors.js'
import { kernelId, parseKernelSpec } from '../../src/kernels/spec.js'

let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-spec-`))
  mkdirSync(join(folder, 'linux-next'))
  writeFileSync(join(folder, 'linux-next', 'Makefile'), '')
  writeFileSync(join(folder, 'linux-next', 'Kconfig'), '')
  mkdirSync(join(folder, 'no-tree'))
  mkdirSync(join(folder, 'modules'))
  writeFileSync(join(folder, 'bzImage-7.3-debug'), '')
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function refusal(text: string, extra?: Parameters<typeof parseKernelSpec>[1]): GmemError {
  try {
    parseKernelSpec(text, extra)
  } catch (error) {
    if (error instanceof GmemError) return error
    throw error
  }
  throw new Error(`${text} was accepted`)
}

describe('a version', () => {
  test('with two numbers is the newest of a series', () => {
    expect(parseKernelSpec('7.3')).toEqual({
      text: '7.3',
      base: { kind: 'debian', series: '7.3', version: null },
      patches: [],
      flavour: 'plain',
    })
  })

  test('with three numbers is exactly that one', () => {
    expect(parseKernelSpec('6.12.94').base).toEqual({ kind: 'debian', series: '6.12', version: '6.12.94' })
  })

  test('takes a flavour behind a dash, which becomes part of its id', () => {
    const spec = parseKernelSpec('7.3-debug')

    expect(spec.flavour).toBe('debug')
    expect(kernelId(spec)).toBe('7.3-debug')
  })

  test('takes the flavour as an option too, also when both say the same', () => {
    expect(kernelId(parseKernelSpec('7.3', { flavour: 'debug' }))).toBe('7.3-debug')
    expect(kernelId(parseKernelSpec('7.3-debug', { flavour: 'debug' }))).toBe('7.3-debug')
  })

  test('with several patch sets is one kernel, in whatever order they are named, and however often', () => {
    const spec = parseKernelSpec('7.3+write+inplace-conversion+write', { patches: ['no-direct-map'] })

    expect(spec.patches).toEqual(['inplace-conversion', 'no-direct-map', 'write'])
    expect(kernelId(spec)).toBe('7.3+inplace-conversion+no-direct-map+write')
  })

  test('with two different flavours is refused', () => {
    expect(refusal('7.3-debug', { flavour: 'kcsan' }).message).toContain(
      'more than one flavour (debug, kcsan)',
    )
  })

  test('with an unknown flavour is refused with the list of flavours', () => {
    const error = refusal('7.3-fast')

    expect(error.exitCode).toBe(2)
    expect(error.message).toContain('no flavour "fast"')
    expect(error.hint).toMatch(/plain, debug, gcov, kcsan/)
  })

  test('with an unknown patch set is refused by its name', () => {
    const error = refusal('7.3+no-such-set-debug')

    expect(error.exitCode).toBe(2)
    expect(error.message).toContain('no patch set "no-such-set"')
  })

  test('written with a v is refused with the right spelling', () => {
    expect(refusal('v7.3').message).toContain('as in 7.3')
  })
})

describe('a path', () => {
  test('to a folder with Makefile and Kconfig is a source tree, whatever dashes its name has', () => {
    const path = join(folder, 'linux-next')

    expect(parseKernelSpec(path).base).toEqual({ kind: 'tree', path })
  })

  test('to a source tree takes a flavour', () => {
    const spec = parseKernelSpec(`${folder}/linux-next-debug`)

    expect(spec.base).toEqual({ kind: 'tree', path: join(folder, 'linux-next') })
    expect(kernelId(spec)).toBe('linux-next-debug')
  })

  test('to a file is an image, even if its name ends like a flavour', () => {
    const path = join(folder, 'bzImage-7.3-debug')

    expect(parseKernelSpec(path)).toMatchObject({
      base: { kind: 'image', path, modules: null },
      flavour: 'plain',
    })
  })

  test('to an image may name its modules', () => {
    const { base } = parseKernelSpec(`${folder}/bzImage-7.3-debug,modules=${folder}/modules`)

    expect(base).toMatchObject({ kind: 'image', modules: join(folder, 'modules') })
  })

  test.each([
    ['nothing there', '/no/such/tree', '/no/such/tree does not exist'],
    ['a name that is nothing', 'mainline', 'neither a version, nor a file or folder'],
    ['a folder without a kernel', '<folder>/no-tree', 'no kernel source tree'],
    [
      'an image with a missing modules folder',
      '<folder>/bzImage-7.3-debug,modules=/no/such',
      '/no/such does not exist',
    ],
    ['a tree with modules', '<folder>/linux-next,modules=<folder>/modules', 'goes with an image'],
    ['an image with a flavour', '<folder>/bzImage-7.3-debug-kcsan', 'cannot be patched or given a flavour'],
  ])('to %s is refused with exit code 2', (_, text, message) => {
    const error = refusal(text.replaceAll('<folder>', folder))

    expect(error.exitCode).toBe(2)
    expect(error.message).toContain(message)
  })
})
