// SPDX-License-Identifier: Apache-2.0
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { buildOn, nameOn, openBaseline, writePatch } from '../../src/kernels/baseline.js'
import { buildLogOf } from '../../src/kernels/build.js'
import { gcKernels, listKernels, removeKernel, resolveKernel } from '../../src/kernels/index.js'
import { type Progress, silentProgress } from '../../src/progress.js'

/**
 * A source tree that make, gcc and gmem treat as they treat Linux, small enough to be built for each test: its
 * bzImage has a boot header, and nothing else.
 */
const makefile = `
allnoconfig:
	cp $(KCONFIG_ALLCONFIG) .config
bzImage: main.o
	echo built >> $(CURDIR)/../../../builds
	mkdir -p arch/x86/boot include/config
	cp header.bin arch/x86/boot/bzImage
	echo 7.9.1$(LOCALVERSION) > include/config/kernel.release
	touch vmlinux System.map
modules: ;
%.o: %.c
	@echo '  CC      $@'
	@$(CC) -c -o $@ $<
modules_install:
	mkdir -p $(INSTALL_MOD_PATH)/lib/modules/7.9.1-gmem/kernel
	test ! -e virt/kvm/kvm.ko || cp virt/kvm/kvm.ko $(INSTALL_MOD_PATH)/lib/modules/7.9.1-gmem/kernel
	touch $(INSTALL_MOD_PATH)/lib/modules/7.9.1-gmem/modules.dep
`

// Each runs make, gcc and git; on a busy machine that takes seconds.
vi.setConfig({ testTimeout: 60_000 })

let folder: string
let tree: string
const cache = process.env.GMEM_CACHE

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-build-`))
  process.env.GMEM_CACHE = join(folder, 'cache')
  tree = join(folder, 'linux')
  mkdirSync(tree)
  writeFileSync(join(tree, 'Kconfig'), '')
  writeFileSync(join(tree, 'Makefile'), makefile)
  writeFileSync(join(tree, 'main.c'), 'int main(void) { return 0; }\n')
  writeFileSync(join(tree, 'header.bin'), bootHeader('7.9.1-gmem'))
})

afterEach(() => {
  if (cache === undefined) delete process.env.GMEM_CACHE
  else process.env.GMEM_CACHE = cache
  rmSync(folder, { recursive: true, force: true })
})

function bootHeader(release: string): Buffer {
  const image = Buffer.alloc(4096)
  image.write('HdrS', 0x202, 'latin1')
  image.writeUInt16LE(0x20f, 0x206)
  image.writeUInt16LE(0x400, 0x20e)
  image.writeUInt16LE(1, 0x236)
  image.write(`${release} (gmem@gmem) #1`, 0x600, 'latin1')
  return image
}

/** What Kbuild does with a module, also as a single target: then it removes modules.order. */
function addModule(): void {
  mkdirSync(join(tree, 'virt/kvm'), { recursive: true })
  writeFileSync(join(tree, 'virt/kvm/kvm.c'), 'int kvm;\n')
  const rules = `
modules: module.made
	echo virt/kvm/kvm.o > modules.order
module.made: virt/kvm/kvm.c
	$(CC) -c -o virt/kvm/kvm.o $<
	echo 'savedcmd_kvm.o := gcc -DMODULE -c kvm.c' > virt/kvm/.kvm.o.cmd
	cp virt/kvm/kvm.c virt/kvm/kvm.ko
virt/kvm/kvm.ko: module.made
	echo single >> $(CURDIR)/../../../single-builds
	rm modules.order
`
  writeFileSync(join(tree, 'Makefile'), makefile.replace('modules: ;', '') + rules)
}

const options = { progress: silentProgress }
const build = (options: { signal?: AbortSignal; progress?: Progress } = {}) =>
  resolveKernel(tree, { build: true, ...options })
const linesOf = (name: string): number => {
  const file = join(folder, 'cache', name)
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0
}
const builds = (): number => linesOf('builds')
const singleBuilds = (): number => linesOf('single-builds')
const entries = (): string[] =>
  existsSync(join(folder, 'cache/kernels')) ? readdirSync(join(folder, 'cache/kernels')) : []

describe('a source tree', () => {
  test('is built once, and found from then on', async () => {
    const image = await build()
    const again = await resolveKernel(tree, { build: false })

    expect(image).toMatchObject({ id: 'linux', release: '7.9.1-gmem', flavour: 'plain' })
    expect(existsSync(image.bzImage)).toBe(true)
    expect(existsSync(join(image.modulesDir ?? '', 'modules.dep'))).toBe(true)
    expect(again).toEqual(image)
    expect(builds()).toBe(1)
  })

  test('is not written to', async () => {
    const before = readdirSync(tree).sort()

    await build()

    expect(readdirSync(tree).sort()).toEqual(before)
  })

  test('is built anew, under another key, when a source file changes, and not when it changes back', async () => {
    const first = await build()
    writeFileSync(join(tree, 'main.c'), 'int main(void) { return 1; }\n')

    const second = await build()

    expect(second.key).not.toBe(first.key)
    expect(builds()).toBe(2)
    expect(entries()).toHaveLength(2)
  })

  test('in which a C file of KVM changed gets its modules alone made, and all of it again after anything else', async () => {
    addModule()
    const first = await build()
    writeFileSync(join(tree, 'virt/kvm/kvm.c'), 'int changed;\n')
    const second = await build()
    expect([builds(), singleBuilds()]).toEqual([1, 1])
    expect(second.key).not.toBe(first.key)
    expect(readFileSync(join(second.modulesDir ?? '', 'kernel/kvm.ko'), 'utf8')).toContain('int changed')

    writeFileSync(join(tree, 'virt/kvm/kvm.c'), 'int changed(\n')
    await expect(build()).rejects.toMatchObject({ exitCode: 125 })
    writeFileSync(join(tree, 'virt/kvm/kvm.c'), 'int mended;\n')
    await build()
    expect([builds(), singleBuilds()]).toEqual([2, 1])

    writeFileSync(join(tree, 'main.c'), 'int main(void) { return 2; }\n')
    await build()
    expect([builds(), singleBuilds()]).toEqual([3, 1])
  })

  test('that was not built is an error with the command that builds it, where building was not asked for', async () => {
    await expect(resolveKernel(tree, { build: false })).rejects.toMatchObject({
      exitCode: 69,
      hint: expect.stringContaining(`gmem kernel build ${tree}`),
    })
  })

  test('that does not compile is exit code 125 with the error, and builds once it is mended', async () => {
    appendFileSync(join(tree, 'main.c'), 'int broken(\n')
    await expect(build()).rejects.toMatchObject({
      exitCode: 125,
      message: expect.stringMatching(/linux did not build:\n.*main\.c:2:\d+: error: /s),
      hint: expect.stringContaining('build-linux.log'),
    })
    expect(entries()).toEqual([])

    writeFileSync(join(tree, 'main.c'), 'int main(void) { return 0; }\n')
    expect((await build()).release).toBe('7.9.1-gmem')
  })

  test('that cannot have what gmem needs is exit code 125, naming the options', async () => {
    writeFileSync(
      join(tree, 'Makefile'),
      makefile.replace('cp $(KCONFIG_ALLCONFIG)', 'grep -v CONFIG_KVM= $(KCONFIG_ALLCONFIG) >'),
    )

    await expect(build()).rejects.toMatchObject({
      exitCode: 125,
      message: expect.stringContaining('CONFIG_KVM=m (is n)'),
    })
  })
})

describe('a build', () => {
  test('that is interrupted ends make and leaves no kernel, and the next one completes', async () => {
    writeFileSync(
      join(tree, 'Makefile'),
      makefile.replace('bzImage: main.o', 'bzImage: main.o\n\techo $$$$ > $(CURDIR)/../../../pid; sleep 60'),
    )
    const controller = new AbortController()
    const running = build({ signal: controller.signal })
    const pidFile = join(folder, 'cache', 'pid')
    await expect
      .poll(() => existsSync(pidFile) && readFileSync(pidFile, 'utf8') !== '', { timeout: 15_000 })
      .toBe(true)
    const pid = Number(readFileSync(pidFile, 'utf8'))

    controller.abort()

    await expect(running).rejects.toMatchObject({ exitCode: 130 })
    expect(existsSync(`/proc/${pid}`)).toBe(false)
    expect(entries()).toEqual([])
    writeFileSync(join(tree, 'Makefile'), makefile)
    expect((await build()).release).toBe('7.9.1-gmem')
  })

  test('waits for another one of the same kernel, says so, and uses what that one built', async () => {
    writeFileSync(join(tree, 'Makefile'), makefile.replace('bzImage: main.o', 'bzImage: main.o\n\tsleep 1'))
    const phases: string[] = []
    const progress: Progress = { ...silentProgress, phase: (title) => phases.push(title) }

    const first = build()
    await sleep(300)
    const [one, two] = await Promise.all([first, build({ progress })])

    expect(two).toEqual(one)
    expect(builds()).toBe(1)
    expect(phases).toContainEqual(expect.stringContaining('waiting for another gmem'))
  })

  test('does not trust a tree that was left unfinished', async () => {
    await build()
    const [name] = readdirSync(join(folder, 'cache/trees')).filter((entry) => !entry.endsWith('.lock'))
    const state = join(folder, 'cache/trees', name ?? '', 'state.json')
    writeFileSync(state, readFileSync(state, 'utf8').replace('"clean":true', '"clean":false'))
    writeFileSync(join(folder, 'cache/trees', name ?? '', 'src/main.o'), 'half an object')
    writeFileSync(join(tree, 'main.c'), 'int main(void) { return 2; }\n')

    expect((await build()).release).toBe('7.9.1-gmem')
    expect(builds()).toBe(2)
  })
})

describe('the cache', () => {
  test('lists what is built, and forgets an entry whose files are damaged', async () => {
    const image = await build()
    expect(listKernels()).toMatchObject([{ id: 'linux', key: image.key, source: tree }])

    rmSync(image.bzImage)

    expect(listKernels()).toEqual([])
    expect((await build()).key).toBe(image.key)
  })

  test('removes a kernel by its id or by its key, and refuses a name that it does not have', async () => {
    const image = await build()
    await expect(removeKernel('7.0')).rejects.toMatchObject({ exitCode: 2, hint: 'Built are: linux.' })

    await removeKernel(image.key.slice(0, 8))

    expect(entries()).toEqual([])
  })

  test('gives up build trees before kernels, and stops where little enough is left', async () => {
    await build()

    const { removed, keptBytes } = await gcKernels({ maxBytes: 100_000 })

    expect(removed).toEqual([expect.stringContaining('/cache/trees/')])
    expect(keptBytes).toBeLessThanOrEqual(100_000)
    expect(listKernels()).toHaveLength(1)
  })

  test('says what it would give up, and removes nothing', async () => {
    await build()

    const { removed } = await gcKernels({ maxBytes: 0, dryRun: true })

    expect(removed).toEqual([expect.stringContaining('/cache/trees/'), listKernels()[0]?.path])
    expect(removed.filter((path) => existsSync(path))).toEqual(removed)
  })

  test('finds a built kernel by its image, too', async () => {
    const image = await build()

    expect(await resolveKernel(image.bzImage, { build: false })).toEqual(image)
  })
})

describe('a kernel with a patch of a series', () => {
  const patchTo = (value: number) => {
    const text = `--- a/main.c\n+++ b/main.c\n@@ -1 +1 @@\n-int main(void) { return 0; }\n+int main(void) { return ${value}; }`
    return writePatch(text, join(folder, `${value}.patch`), 'the series')
  }

  test('is built in the tree of its base, and is another kernel', async () => {
    const base = await build()
    const baseline = await openBaseline(tree, options)

    const patched = await buildOn(baseline, patchTo(1), options)

    expect(patched.id).toMatch(/^linux@[0-9a-f]{8}$/)
    expect(patched.key).not.toBe(base.key)
    expect(builds()).toBe(2)
    expect(readFileSync(join(tree, 'main.c'), 'utf8')).toContain('return 0')
  })

  test('is never built again, and without a patch is the base', async () => {
    const base = await build()
    const baseline = await openBaseline(tree, options)
    await buildOn(baseline, patchTo(1), options)

    await buildOn(baseline, patchTo(2), options)
    await buildOn(baseline, patchTo(1), options)

    expect(await buildOn(baseline, null, options)).toEqual(base)
    expect(builds()).toBe(3)
  })

  test('that does not build is exit code 125, and its log is there', async () => {
    const baseline = await openBaseline(tree, options)
    const text =
      '--- a/main.c\n+++ b/main.c\n@@ -1 +1 @@\n-int main(void) { return 0; }\n+int main(void) { return x; }'
    const patch = writePatch(text, join(folder, 'x.patch'), 'the series')

    await expect(buildOn(baseline, patch, options)).rejects.toMatchObject({ exitCode: 125 })

    expect(readFileSync(buildLogOf(nameOn(baseline, patch)), 'utf8')).toContain('undeclared')
  })

  test('cannot be had of a ready image', async () => {
    const image = await build()

    await expect(openBaseline(image.bzImage, options)).rejects.toMatchObject({ exitCode: 2 })
  })
})

describe('a ready image', () => {
  const at = (path: string): string => join(folder, path)

  beforeEach(() => {
    mkdirSync(at('boot'))
    writeFileSync(at('boot/vmlinuz-6.12.1'), bootHeader('6.12.1'))
    mkdirSync(at('lib/modules/6.12.1/kernel'), { recursive: true })
    writeFileSync(at('lib/modules/6.12.1/modules.dep'), '')
  })

  test('finds the modules that lie as a package unpacks them', async () => {
    const image = await resolveKernel(at('boot/vmlinuz-6.12.1'))

    expect(image).toMatchObject({
      release: '6.12.1',
      flavour: 'unknown',
      modulesDir: at('lib/modules/6.12.1'),
    })
  })

  test('has no modules where there are none', async () => {
    rmSync(at('lib'), { recursive: true })

    expect((await resolveKernel(at('boot/vmlinuz-6.12.1'))).modulesDir).toBeNull()
  })

  test('gets another key when its modules change', async () => {
    const before = await resolveKernel(at('boot/vmlinuz-6.12.1'))
    writeFileSync(at('lib/modules/6.12.1/modules.dep'), 'kernel/kvm.ko:\n')

    expect((await resolveKernel(at('boot/vmlinuz-6.12.1'))).key).not.toBe(before.key)
  })

  test('gets an index of modules that have none, in the cache', async () => {
    rmSync(at('lib/modules/6.12.1/modules.dep'))

    const { modulesDir } = await resolveKernel(at('boot/vmlinuz-6.12.1'))

    expect(modulesDir).toContain(at('cache/modules/'))
    expect(existsSync(join(modulesDir ?? '', 'modules.dep'))).toBe(true)
    expect(existsSync(at('lib/modules/6.12.1/modules.dep'))).toBe(false)
  })

  test('with the modules of another kernel is refused, naming both releases', async () => {
    cpSync(at('lib/modules/6.12.1'), at('other/lib/modules/6.1.0'), { recursive: true })

    await expect(resolveKernel(`${at('boot/vmlinuz-6.12.1')},modules=${at('other')}`)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringMatching(/those of 6\.1\.0, but the kernel is 6\.12\.1/),
    })
  })

  test('that is no kernel is refused', async () => {
    writeFileSync(at('boot/bzImage'), 'MZ, but no kernel')

    await expect(resolveKernel(at('boot/bzImage'))).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('is not a bzImage'),
    })
  })
})
