// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { copyFile, mkdir, rename, rm, symlink } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { cacheRoot } from '../paths.js'
import { run } from './run.js'

/**
 * A folder that has these modules and depmod's index of them. That is the given one where it has modules.dep; a
 * freshly unpacked package or a build tree has none, so it gets a folder of links in the cache: the modules' own
 * folder is never written to.
 */
export async function indexedModules(dir: string, release: string): Promise<string> {
  if (existsSync(join(dir, 'modules.dep'))) return dir
  const inTree = existsSync(join(dir, 'include/config/kernel.release'))
  const modules = inTree ? builtModules(dir) : installedModules(dir)
  const name = createHash('sha256')
    .update(`${resolve(dir)}\0${release}`)
    .digest('hex')
    .slice(0, 12)
  const root = join(cacheRoot(), 'modules', name)
  const fresh = `${root}.${process.pid}`
  try {
    const links = join(fresh, 'lib', 'modules', release)
    await mkdir(links, { recursive: true })
    for (const [path, target] of modules) await link(target, join(links, 'kernel', path))
    for (const file of ['modules.builtin', 'modules.builtin.modinfo', 'modules.order']) {
      if (existsSync(join(dir, file))) await copyFile(join(dir, file), join(links, file))
    }
    await run('depmod', ['--basedir', fresh, release])
    await rm(root, { recursive: true, force: true })
    await rename(fresh, root)
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
  return join(root, 'lib', 'modules', release)
}

/**
 * The release that a module of the indexed folder was built for (vermagic), KVM's where it has one; null where there are none. A kernel
 * loads no other, whatever the folder is called.
 */
export async function releaseOfModule(dir: string): Promise<string | null> {
  const index = readFileSync(join(dir, 'modules.dep'), 'utf8').split('\n')
  const paths = index
    .map((line) => line.slice(0, Math.max(0, line.indexOf(':'))))
    .filter((path) => path !== '')
  const path = paths.find((name) => /\/kvm\.ko(\.\w+)?$/.test(name)) ?? paths[0]
  if (path === undefined) return null
  const vermagic = await run('modinfo', ['--field', 'vermagic', resolve(dir, path)])
  return vermagic.split(' ')[0] || null
}

/** Those that make built: modules.order lists them, as .ko or (since 6.2) .o. */
function builtModules(tree: string): Map<string, string> {
  const order = readFileSync(join(tree, 'modules.order'), 'utf8').split('\n')
  const paths = order.filter((line) => line !== '').map((line) => line.replace(/\.k?o$/, '.ko'))
  return new Map(paths.map((path) => [path, join(tree, path)]))
}

function installedModules(dir: string): Map<string, string> {
  const base = join(dir, 'kernel')
  const files = readdirSync(base, { recursive: true, encoding: 'utf8' })
  return new Map(files.filter((path) => /\.ko(\.\w+)?$/.test(path)).map((path) => [path, join(base, path)]))
}

async function link(target: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await symlink(target, path)
}
