// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync, statSync, utimesSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { usageError } from '../errors.js'
import { cacheRoot } from '../paths.js'
import type { KernelImage } from './types.js'

/** manifest.json of a built kernel; paths are relative to its folder. */
export interface Manifest {
  readonly schema: 1
  readonly id: string
  readonly key: string
  readonly release: string
  readonly flavour: string
  readonly patches: readonly string[]
  /** In words: `linux-source-7.3 7.3.4-1~bpo13+1`, or the path of a source tree. */
  readonly source: string
  readonly compiler: string
  /** ISO 8601. */
  readonly builtAt: string
  readonly buildSeconds: number
  readonly sizeBytes: number
}

/** A kernel in the cache. */
export interface BuiltKernel extends Manifest {
  /** Absolute path of its folder. */
  readonly path: string
  /** When it was last used, ISO 8601. */
  readonly usedAt: string
}

export const kernelsDir = (): string => join(cacheRoot(), 'kernels')

/** The folder of a built kernel: its name is for people, its end is the key. */
export function entryDir(id: string, key: string): string {
  return join(kernelsDir(), `${id}-${key.slice(0, 16)}`)
}

/** All built kernels, the last used first. Entries that are damaged or half removed are left out. */
export function listKernels(): BuiltKernel[] {
  if (!existsSync(kernelsDir())) return []
  return readdirSync(kernelsDir())
    .map((name) => readEntry(join(kernelsDir(), name)))
    .filter((kernel): kernel is BuiltKernel => kernel !== null)
    .sort((a, b) => b.usedAt.localeCompare(a.usedAt))
}

/** The built kernel with this key, or null; marks it as used. */
export function lookUpKernel(id: string, key: string): KernelImage | null {
  const dir = entryDir(id, key)
  const kernel = readEntry(dir)
  if (kernel?.key !== key) return null
  const now = new Date()
  try {
    utimesSync(join(dir, 'manifest.json'), now, now)
  } catch {
    // A read-only cache still serves.
  }
  return imageOf(kernel)
}

/** The built kernel whose image this is, or null where it is none of ours. */
export function cachedKernel(bzImage: string): KernelImage | null {
  const dir = dirname(bzImage)
  if (dirname(dir) !== kernelsDir()) return null
  const kernel = readEntry(dir)
  return kernel === null ? null : lookUpKernel(kernel.id, kernel.key)
}

export function imageOf(kernel: BuiltKernel): KernelImage {
  const { path, release } = kernel
  return {
    id: kernel.id,
    release,
    bzImage: join(path, 'bzImage'),
    modulesDir: join(path, 'lib', 'modules', release),
    config: join(path, 'config'),
    vmlinux: join(path, 'vmlinux'),
    flavour: kernel.flavour,
    key: kernel.key,
  }
}

/** Removes all built kernels with this id, or the one whose key starts so (6 digits at least). Returns what went. */
export async function removeKernel(idOrKey: string): Promise<BuiltKernel[]> {
  const all = listKernels()
  const byKey = /^[0-9a-f]{6,}$/.test(idOrKey) ? all.filter(({ key }) => key.startsWith(idOrKey)) : []
  const chosen = byKey.length > 0 ? byKey : all.filter(({ id }) => id === idOrKey)
  if (chosen.length === 0) {
    const known = [...new Set(all.map(({ id }) => id))].join(', ')
    throw usageError(
      `no built kernel is called "${idOrKey}"`,
      known === '' ? 'None is built.' : `Built are: ${known}.`,
    )
  }
  for (const { path } of chosen) await removeEntry(path)
  return chosen
}

/** The manifest goes first, so that an interrupted removal leaves nothing that looks like a kernel. */
export async function removeEntry(path: string): Promise<void> {
  await rm(join(path, 'manifest.json'), { force: true })
  await rm(path, { recursive: true, force: true })
}

function readEntry(path: string): BuiltKernel | null {
  try {
    const file = join(path, 'manifest.json')
    const manifest: unknown = JSON.parse(readFileSync(file, 'utf8'))
    if (!isManifest(manifest)) return null
    if (!existsSync(join(path, 'bzImage'))) return null
    if (!existsSync(join(path, 'lib', 'modules', manifest.release, 'modules.dep'))) return null
    return { ...manifest, path, usedAt: statSync(file).mtime.toISOString() }
  } catch {
    return null
  }
}

function isManifest(value: unknown): value is Manifest {
  if (typeof value !== 'object' || value === null) return false
  const fields = value as Partial<Record<keyof Manifest, unknown>>
  const texts = [fields.id, fields.key, fields.release, fields.flavour, fields.builtAt]
  return fields.schema === 1 && texts.every((text) => typeof text === 'string')
}
