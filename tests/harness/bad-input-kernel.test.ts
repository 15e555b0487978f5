// SPDX-License-Identifier: Apache-2.0
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { canMount, Sandbox, skipFor } from './support/run-gmem.js'
import { builtImage } from './support/small-project.js'

let box: Sandbox
let image: string

beforeAll(async () => {
  image = await builtImage()
  box = await Sandbox.create()
})
afterAll(async () => await box.remove())
afterEach(async () => expect(await box.leftovers()).toEqual([]))

function newFile(name: string, content: string | Buffer): string {
  const path = join(box.path, name)
  writeFileSync(path, content)
  return path
}

function newFolder(name: string): string {
  const path = join(box.path, name)
  mkdirSync(path, { recursive: true })
  return path
}

describe('a kernel image that cannot be used is named, with what is wrong', () => {
  test.each([
    ['garbage', () => 'no kernel at all', 'is not a bzImage (no "HdrS" at offset 0x202)'],
    ['empty', () => '', 'is not a bzImage (no "HdrS" at offset 0x202)'],
    ['vmlinux', () => '\x7fELF and more', 'It is an ELF file: pass arch/x86/boot/bzImage'],
    ['cut-short', () => readFileSync(image).subarray(0, 1_000_000), 'is cut short: it has 1000000 of the'],
  ])('%s', async (name, content, complaint) => {
    const path = newFile(name, content())

    const { exitCode, stdout, stderr } = await box.run(['test', '-k', path])

    expect(stderr).toContain(`error: ${path}: `)
    expect(stderr).toContain(complaint)
    expect(stdout).toBe('')
    expect(exitCode).toBe(2)
  })

  test('a file that is not there', async () => {
    const { exitCode, stderr } = await box.run(['test', '-k', '/nowhere/bzImage'])

    expect(stderr).toContain('error: kernel "/nowhere/bzImage": /nowhere/bzImage does not exist')
    expect(exitCode).toBe(2)
  })

  test('a folder that is no source tree', async () => {
    const path = newFolder('no-tree')

    const { exitCode, stderr } = await box.run(['probe', '-k', path])

    expect(stderr).toContain(`the folder ${path} is no kernel source tree (it has no Makefile and Kconfig)`)
    expect(exitCode).toBe(2)
  })

  test('a source tree that does not build', async () => {
    const path = newFolder('broken-tree')
    writeFileSync(join(path, 'Makefile'), '$(error this tree is broken)\n')
    writeFileSync(join(path, 'Kconfig'), '')

    const { exitCode, stderr } = await box.run(['kernel', 'build', path])

    expect(stderr).toContain('this tree is broken')
    expect(exitCode).toBe(125)
  })
})

describe('a modules folder that does not belong to the kernel', () => {
  test('by the name of its folder', async () => {
    const path = newFolder('other-name')
    cpSync(modulesOf(image), join(path, 'lib/modules/6.1.0-other'), { recursive: true })

    const { exitCode, stderr } = await box.run(['test', '-k', `${image},modules=${path}`])

    expect(stderr).toMatch(/the modules in .*other-name are those of 6\.1\.0-other, but the kernel is 7\./)
    expect(stderr).toContain('hint: Give the folder that `make modules_install` made for this very kernel')
    expect(exitCode).toBe(2)
  })

  test('by what its modules say, whatever the folder is called', async () => {
    const modules = modulesOf(image)
    const path = join(newFolder('other-vermagic'), modules.split('/').at(-1) ?? '')
    cpSync(modules, path, { recursive: true })
    const kvm = join(path, 'kernel/arch/x86/kvm/kvm.ko')
    const bytes = readFileSync(kvm, 'latin1').replace(/(?<=vermagic=)\d/, '6')
    writeFileSync(kvm, bytes, 'latin1')

    const { exitCode, stderr } = await box.run(['test', '-k', `${image},modules=${path}`])

    expect(stderr).toMatch(/the modules in .*other-vermagic.* are those of 6\.\S+, but the kernel is 7\./)
    expect(exitCode).toBe(2)
  })

  test('because it holds none', async () => {
    const { exitCode, stderr } = await box.run(['test', '-k', `${image},modules=${newFolder('no-modules')}`])

    expect(stderr).toMatch(/no-modules holds no modules of 7\./)
    expect(exitCode).toBe(2)
  })

  test('because it is not there', async () => {
    const { exitCode, stderr } = await box.run(['test', '-k', `${image},modules=/nowhere`])

    expect(stderr).toContain('the modules folder /nowhere does not exist')
    expect(exitCode).toBe(2)
  })
})

test('a build that the disk has no space for does not begin', async (context) => {
  if (!(await canMount())) skipFor('needs to mount a tmpfs in a namespace of its own (unshare -m)', context)
  const disk = newFolder('small-disk')
  const tree = newFolder('tree')
  writeFileSync(join(tree, 'Makefile'), 'all:\n')
  writeFileSync(join(tree, 'Kconfig'), '')
  const under = ['unshare', '-m', 'sh', '-c', `mount -t tmpfs -o size=64m tmpfs ${disk} && exec "$@"`, 'sh']

  const { exitCode, stderr } = await box.run(['kernel', 'build', tree], { under, env: { GMEM_CACHE: disk } })

  expect(stderr).toContain(`error: not enough disk space: building tree needs 4.0 GiB in ${disk}, where 6`)
  expect(stderr).toContain('hint: Free some space')
  expect(exitCode).toBe(69)
})

/** lib/modules/RELEASE beside an image in the cache. */
function modulesOf(path: string): string {
  const all = join(dirname(path), 'lib/modules')
  return join(all, readdirSync(all)[0] ?? '')
}
