// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { projectRoot } from '../../src/paths.js'

// Each starts Node; on a busy machine that takes seconds.
vi.setConfig({ testTimeout: 60_000 })

const main = join(projectRoot, 'dist', 'cli', 'main.js')
let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-cli-`))
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function gmem(args: readonly string[], env: Record<string, string> = {}) {
  return execa(process.execPath, [main, ...args], {
    reject: false,
    env: { GMEM_CACHE: join(folder, 'cache'), NO_COLOR: '1', FORCE_COLOR: '0', ...env },
  })
}

describe('gmem', () => {
  test('does not crash where nobody reads its output to the end', async () => {
    const { exitCode, stderr } = await execa({ shell: '/bin/bash', reject: false, env: { NO_COLOR: '1' } })`
      set -o pipefail; ${process.execPath} ${main} --help | true`

    expect(stderr).not.toContain('EPIPE')
    // The pipe takes the output, or the reader is gone before.
    expect([0, 130]).toContain(exitCode)
  })

  test('--help names every command and the exit codes, and exits with 0', async () => {
    const { exitCode, stdout } = await gmem(['--help'])

    expect(exitCode).toBe(0)
    for (const command of [
      'test',
      'compare',
      'series',
      'matrix',
      'bisect',
      'probe',
      'shell',
      'kernel',
      'doctor',
    ])
      expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'))
    expect(stdout).toContain('125 did not apply or build')
  })

  test.each([
    'test',
    'compare',
    'series',
    'matrix',
    'bisect',
    'bisect-step',
    'probe',
    'shell',
    'kernel build',
    'doctor',
  ])('%s --help has examples', async (command) => {
    const { exitCode, stdout } = await gmem([...command.split(' '), '--help'])

    expect(exitCode).toBe(0)
    expect(stdout).toContain('Examples:')
  })

  test('refuses an unknown command with exit code 2', async () => {
    const { exitCode, stderr } = await gmem(['frobnicate'])

    expect(exitCode).toBe(2)
    expect(stderr).toContain("unknown command 'frobnicate'")
  })

  test('refuses an unknown option of a command with exit code 2', async () => {
    expect((await gmem(['kernel', 'list', '--colour'])).exitCode).toBe(2)
  })
})

describe('gmem bisect-step', () => {
  test.each([
    ['an unknown option', ['bisect-step', 'passes', '--colour']],
    ['no test', ['bisect-step']],
    ['a test that is not there', ['bisect-step', 'no-such-file', '-k', '7.3']],
  ])('stops git bisect with exit code 128 at %s', async (_title, args) => {
    expect((await gmem(args)).exitCode).toBe(128)
  })
})

describe('gmem kernel', () => {
  test('list says how to build one where none is built', async () => {
    const { exitCode, stdout } = await gmem(['kernel', 'list'])

    expect(exitCode).toBe(0)
    expect(stdout).toContain('gmem kernel build')
  })

  test('list --json prints an array', async () => {
    expect(JSON.parse((await gmem(['kernel', 'list', '--json'])).stdout)).toEqual([])
  })

  test('build refuses what is no kernel, with the reason, a hint and no stack', async () => {
    const { exitCode, stderr } = await gmem(['kernel', 'build', 'mainline'])

    expect(exitCode).toBe(2)
    expect(stderr).toMatch(/^error: kernel "mainline" is neither.*\nhint: /)
    expect(stderr).not.toContain('    at ')
  })

  test('build shows the stack when GMEM_DEBUG is set', async () => {
    const { stderr } = await gmem(['kernel', 'build', 'mainline'], { GMEM_DEBUG: '1' })

    expect(stderr).toContain('    at ')
  })

  test('build refuses an image that cannot be read as one', async () => {
    const image = join(folder, 'bzImage')
    writeFileSync(image, Buffer.alloc(9000, 0xff))

    const { exitCode, stderr } = await gmem(['kernel', 'build', image])

    expect(exitCode).toBe(2)
    expect(stderr).toContain(`${image}: is not a bzImage`)
  })

  test('build takes the kernel of GMEM_KERNEL when none is named', async () => {
    const { exitCode, stderr } = await gmem(['kernel', 'build'], { GMEM_KERNEL: '/no/such/bzImage' })

    expect(exitCode).toBe(2)
    expect(stderr).toContain('/no/such/bzImage does not exist')
  })

  test('build refuses a number of jobs that is none', async () => {
    expect((await gmem(['kernel', 'build', '-j', 'many'])).stderr).toContain('a number from 1 to 9999')
  })

  test('rm refuses a kernel that is not there', async () => {
    const { exitCode, stderr } = await gmem(['kernel', 'rm', '7.3'])

    expect(exitCode).toBe(2)
    expect(stderr).toContain('no built kernel is called "7.3"')
  })
})

describe('gmem doctor', () => {
  test('exits with 69 and prints the command that installs what is missing', async () => {
    const { exitCode, stdout } = await gmem(['doctor'], { PATH: join(folder, 'nothing') })

    expect(exitCode).toBe(69)
    expect(stdout).toMatch(/missing QEMU: no qemu-system-x86_64 in PATH/)
    expect(stdout).toMatch(/fix: .*install.* qemu-system-x86/)
  })

  test('--json says for each check what was seen', async () => {
    const { stdout } = await gmem(['doctor', '--json'], { PATH: join(folder, 'nothing') })
    const { usable, checks } = JSON.parse(stdout)

    expect(usable).toBe(false)
    expect(checks).toContainEqual({ name: 'Node', state: 'ok', detail: process.version })
  })
})
