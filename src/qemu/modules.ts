// SPDX-License-Identifier: Apache-2.0

import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { execa } from 'execa'
import { InfrastructureError } from './errors.js'

/** A module to load, in the order that `planModules` gives. */
export interface PlannedModule {
  /** Canonical name, underscores: `kvm_amd`. */
  readonly name: string
  /** Path below the modules folder, with its compression suffix: `kernel/arch/x86/kvm/kvm-amd.ko.xz`. */
  readonly path: string
}

/** Which of the wanted modules are loaded, built in, or not there at all. */
export interface ModulePlan {
  /** Dependencies first. */
  readonly load: readonly PlannedModule[]
  readonly builtin: readonly string[]
  readonly missing: readonly string[]
}

/** The text of depmod's files in a modules folder. */
export interface ModuleIndex {
  /** modules.dep */
  readonly dep: string
  /** modules.softdep */
  readonly softdep: string
  /** modules.builtin */
  readonly builtin: string
}

/** Reads depmod's files. Throws InfrastructureError where `modulesDir` has no modules.dep. */
export async function readModuleIndex(modulesDir: string): Promise<ModuleIndex> {
  const optional = (name: string): Promise<string> => readFile(join(modulesDir, name), 'utf8').catch(() => '')
  const dep = await readFile(join(modulesDir, 'modules.dep'), 'utf8').catch((error: unknown) => {
    throw new InfrastructureError(
      `${modulesDir}: has no modules.dep; pass lib/modules/RELEASE as \`make modules_install\` leaves it (or run depmod)`,
      { cause: error },
    )
  })
  return { dep, softdep: await optional('modules.softdep'), builtin: await optional('modules.builtin') }
}

/**
 * The load order for `wanted`: hard dependencies (modules.dep) and `pre:` soft dependencies first, `post:`
 * ones after. A soft dependency that does not exist is ignored, as modprobe does.
 */
export function planModules(index: ModuleIndex, wanted: readonly string[]): ModulePlan {
  const dependencies = parseDep(index.dep)
  const soft = parseSoftdep(index.softdep)
  const builtin = new Set(lines(index.builtin).map(moduleName))
  const load = new Map<string, PlannedModule>()
  const visiting = new Set<string>()
  const visit = (name: string): void => {
    const module = dependencies.get(name)
    if (module === undefined || load.has(name) || visiting.has(name)) return
    visiting.add(name)
    for (const before of soft.get(name)?.pre ?? []) visit(before)
    // modules.dep lists the nearest dependency first: the last one must be loaded first.
    for (const dependency of [...module.needs].reverse()) visit(dependency)
    load.set(name, { name, path: module.path })
    for (const after of soft.get(name)?.post ?? []) visit(after)
  }
  const names = wanted.map(canonical)
  for (const name of names) visit(name)
  const absent = names.filter((name) => !load.has(name))
  return {
    load: [...load.values()],
    builtin: absent.filter((name) => builtin.has(name)),
    missing: absent.filter((name) => !builtin.has(name)),
  }
}

/**
 * The module's bytes, decompressed. Throws InfrastructureError where the tool for its compression is missing
 * or fails.
 */
export async function readModule(modulesDir: string, path: string): Promise<Buffer> {
  const absolute = join(modulesDir, path)
  try {
    if (path.endsWith('.gz')) return gunzipSync(await readFile(absolute))
    if (path.endsWith('.xz')) return await decompress('xz', 'xz-utils', absolute)
    if (path.endsWith('.zst')) return await decompress('zstd', 'zstd', absolute)
    return await readFile(absolute)
  } catch (error) {
    if (error instanceof InfrastructureError) throw error
    throw new InfrastructureError(`${absolute}: ${(error as Error).message}`, { cause: error })
  }
}

async function decompress(tool: string, packageName: string, path: string): Promise<Buffer> {
  const { stdout, failed, code, stderr } = await execa(tool, ['-dc', path], {
    encoding: 'buffer',
    reject: false,
    maxBuffer: 1 << 30,
  })
  if (code === 'ENOENT') {
    throw new InfrastructureError(`${path}: needs ${tool} to be read: apt-get install ${packageName}`)
  }
  if (failed)
    throw new InfrastructureError(`${path}: ${tool} failed: ${Buffer.from(stderr).toString('utf8').trim()}`)
  return Buffer.from(stdout)
}

interface Dependency {
  readonly path: string
  readonly needs: readonly string[]
}

function parseDep(text: string): Map<string, Dependency> {
  const dependencies = new Map<string, Dependency>()
  for (const line of lines(text)) {
    const [path = '', needs = ''] = line.split(':')
    const names = needs
      .split(' ')
      .filter((need) => need !== '')
      .map(moduleName)
    dependencies.set(moduleName(path), { path, needs: names })
  }
  return dependencies
}

interface Softdep {
  readonly pre: string[]
  readonly post: string[]
}

/** Lines like `softdep NAME pre: A B post: C`. */
function parseSoftdep(text: string): Map<string, Softdep> {
  const soft = new Map<string, Softdep>()
  for (const line of lines(text)) {
    const [keyword, name, ...words] = line.split(/\s+/)
    if (keyword !== 'softdep' || name === undefined) continue
    const entry = soft.get(canonical(name)) ?? { pre: [], post: [] }
    let list: string[] | null = null
    for (const word of words) {
      if (word === 'pre:') list = entry.pre
      else if (word === 'post:') list = entry.post
      else list?.push(canonical(word))
    }
    soft.set(canonical(name), entry)
  }
  return soft
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'))
}

/** `kernel/arch/x86/kvm/kvm-amd.ko.xz` → `kvm_amd`. */
function moduleName(path: string): string {
  return canonical(basename(path).replace(/\.ko(\.(gz|xz|zst))?$/, ''))
}

function canonical(name: string): string {
  return name.replaceAll('-', '_')
}
