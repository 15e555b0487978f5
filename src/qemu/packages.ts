// SPDX-License-Identifier: Apache-2.0
import { readdir, readFile, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { InfrastructureError } from './errors.js'

/**
 * Of these packages the guest uses a part: vite is there for its module runner, and what vite itself needs
 * stays out.
 */
const PARTIAL_PACKAGES: Readonly<Record<string, readonly string[]>> = {
  vite: ['package.json', 'dist/node/module-runner.js'],
}

/** Dependencies of vitest that only its host half loads. */
const HOST_ONLY_PACKAGES: ReadonlySet<string> = new Set([
  'picomatch',
  'tinyglobby',
  'tinyexec',
  'why-is-node-running',
])

const LEFT_OUT = /\.(map|md|markdown|d\.[cm]?ts|ts|flow|txt)$|(^|\/)(LICENSE|CHANGELOG|README|AUTHORS)[^/]*$/i

interface PackageJson {
  readonly dependencies?: Readonly<Record<string, string>>
}

/**
 * Every file (absolute, sorted) of the named packages and of what they depend on, without types, source maps
 * and documentation. Packages are looked up as Node does, from the folder `from` upward. Throws
 * InfrastructureError for a package that is not installed.
 */
export async function packageFiles(from: string, names: readonly string[]): Promise<string[]> {
  const folders = new Map<string, string>()
  await Promise.all(names.map((name) => collect(folders, from, name)))
  const files = await Promise.all([...folders].map(([folder, name]) => filesOf(folder, name)))
  return files.flat().sort()
}

async function collect(folders: Map<string, string>, from: string, name: string): Promise<void> {
  const { folder, manifest } = await locate(from, name)
  if (folders.has(folder)) return
  folders.set(folder, name)
  if (name in PARTIAL_PACKAGES) return
  const dependencies = Object.keys(manifest.dependencies ?? {}).filter(
    (dependency) => !HOST_ONLY_PACKAGES.has(dependency) && !dependency.startsWith('@types/'),
  )
  await Promise.all(dependencies.map((dependency) => collect(folders, folder, dependency)))
}

async function locate(from: string, name: string): Promise<{ folder: string; manifest: PackageJson }> {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name)
    const text = await readFile(join(candidate, 'package.json'), 'utf8').catch(() => null)
    if (text !== null) return { folder: await realpath(candidate), manifest: JSON.parse(text) as PackageJson }
    if (folder === dirname(folder)) break
  }
  throw new InfrastructureError(
    `the package ${name} is not installed (looked from ${from} upward): run npm ci`,
  )
}

async function filesOf(folder: string, name: string): Promise<string[]> {
  const partial = PARTIAL_PACKAGES[name]
  if (partial !== undefined) return partial.map((file) => join(folder, file))
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => isNeeded(path.slice(folder.length + 1)))
}

/**
 * Whether a file of a package (its path inside the package) is loaded at run time. A nested package is
 * collected by itself.
 */
export function isNeeded(path: string): boolean {
  return !LEFT_OUT.test(path) && !path.startsWith('node_modules/')
}
