// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { usageError } from '../errors.js'
import { BzImageError, readBzImageRelease } from './bzimage.js'
import { indexedModules, releaseOfModule } from './module-index.js'
import type { KernelImage } from './types.js'

/** A ready image that -k names, with the modules that belong to it. Unusable input is a GmemError with exit code 2. */
export async function resolveImage(path: string, modules: string | null): Promise<KernelImage> {
  const release = await releaseOf(path)
  const modulesDir =
    modules === null ? await neighbouringModules(path, release) : await namedModules(modules, release)
  const buildTree = buildTreeOf(path, release)
  return {
    id: basename(path),
    release,
    bzImage: path,
    modulesDir,
    config: firstThat([
      join(dirname(path), `config-${release}`),
      join(dirname(path), 'config'),
      ...inTree('.config'),
    ]),
    vmlinux: firstThat([join(dirname(path), 'vmlinux'), ...inTree('vmlinux')]),
    flavour: 'unknown',
    key: await keyOf(path, modulesDir),
  }

  function inTree(name: string): string[] {
    return buildTree === null ? [] : [join(buildTree, name)]
  }
}

async function releaseOf(path: string): Promise<string> {
  try {
    return await readBzImageRelease(path)
  } catch (error) {
    if (error instanceof BzImageError) throw usageError(error.message)
    throw error
  }
}

/** The modules= folder: lib/modules/RELEASE itself, or any folder above it. */
async function namedModules(given: string, release: string): Promise<string> {
  const below = [
    '',
    release,
    join('modules', release),
    join('lib', 'modules', release),
    join('usr/lib/modules', release),
  ]
  const found = below.map((path) => join(given, path)).filter(holdsModules)
  const matching = found.find((path) => releaseOfModules(path) === release)
  const indexed = matching === undefined ? null : await indexedModules(matching, release)
  const builtFor = indexed === null ? null : await releaseOfModule(indexed)
  if (indexed !== null && (builtFor ?? release) === release) return indexed
  const others = builtFor ? [builtFor] : found.length > 0 ? found.map(releaseOfModules) : releasesBelow(given)
  throw usageError(
    others.length === 0
      ? `${given} holds no modules of ${release}`
      : `the modules in ${given} are those of ${others.join(', ')}, but the kernel is ${release}`,
    'Give the folder that `make modules_install` made for this very kernel: lib/modules/RELEASE, or one above it.',
  )
}

/** Modules beside the image: as a package unpacks, as /boot has it, or in the tree that built it. */
async function neighbouringModules(path: string, release: string): Promise<string | null> {
  const here = dirname(path)
  const folders = ['lib/modules', '../lib/modules', '../usr/lib/modules', 'modules', '.'].map((folder) =>
    resolve(here, folder, release),
  )
  const system = here === '/boot' ? [join('/lib/modules', release)] : []
  const found = [...folders, ...system].find((dir) => holdsModules(dir) && releaseOfModules(dir) === release)
  if (found !== undefined) return indexedModules(found, release)
  const tree = buildTreeOf(path, release)
  return tree === null || !existsSync(join(tree, 'modules.order')) ? null : indexedModules(tree, release)
}

/** The kernel tree that an arch/x86/boot/bzImage lies in, if what it last built is this release. */
function buildTreeOf(path: string, release: string): string | null {
  const tree = resolve(dirname(path), '..', '..', '..')
  try {
    return readFileSync(join(tree, 'include/config/kernel.release'), 'utf8').trim() === release ? tree : null
  } catch {
    return null
  }
}

function releasesBelow(given: string): string[] {
  return ['lib/modules', 'usr/lib/modules', 'modules', '.']
    .map((path) => join(given, path))
    .filter((dir) => existsSync(dir))
    .flatMap((dir) => readdirSync(dir).filter((name) => holdsModules(join(dir, name))))
}

function holdsModules(dir: string): boolean {
  return existsSync(join(dir, 'kernel')) || existsSync(join(dir, 'modules.dep'))
}

/** `modules_install` names the folder after the release. */
function releaseOfModules(dir: string): string {
  return basename(resolve(dir))
}

/** Hash of the image, and of the names, sizes and times of its modules. */
async function keyOf(path: string, modulesDir: string | null): Promise<string> {
  const hash = createHash('sha256').update(await readFile(path))
  if (modulesDir !== null) {
    const dep = await readFile(join(modulesDir, 'modules.dep'), 'utf8')
    hash.update(dep)
    for (const line of dep.split('\n')) {
      const module = line.slice(0, Math.max(0, line.indexOf(':')))
      const stats = module === '' ? undefined : statSync(join(modulesDir, module), { throwIfNoEntry: false })
      if (stats !== undefined) hash.update(`${stats.size}:${stats.mtimeMs}\n`)
    }
  }
  return hash.digest('hex')
}

function firstThat(paths: readonly string[]): string | null {
  return paths.find((path) => existsSync(path)) ?? null
}
