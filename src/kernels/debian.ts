// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { GmemError, usageError } from '../errors.js'
import { cacheRoot } from '../paths.js'
import type { Progress } from '../progress.js'
import { aptArguments, updateIndex } from './apt.js'
import { run } from './run.js'

/** One version of Debian's linux-source package. */
export interface DebianSource {
  /** `linux-source-7.3` */
  readonly package: string
  /** Debian's version: `7.3.4-1~bpo13+1`. */
  readonly version: string
  /** The kernel's: `7.3.4`. */
  readonly upstream: string
}

interface Remembered {
  readonly newest: string
  readonly versions: readonly string[]
}

export interface DebianOptions {
  readonly progress: Progress
  readonly signal?: AbortSignal | undefined
}

const sourcesDir = (): string => join(cacheRoot(), 'sources')
const packageOf = (series: string): string => `linux-source-${series}`
const upstreamOf = (version: string): string => version.replace(/-[^-]*$/, '')

/** What an earlier look at Debian's index gave for this series, without the network; null when there was none. */
export async function rememberedSource(series: string, wanted: string | null): Promise<DebianSource | null> {
  const remembered = await readRemembered(series)
  const version =
    wanted === null ? remembered?.newest : remembered?.versions.find((v) => upstreamOf(v) === wanted)
  return version === undefined ? null : describe(series, version)
}

/** Asks Debian's index which versions of the series there are, and picks the newest or the one wanted. */
export async function findSource(
  series: string,
  wanted: string | null,
  options: DebianOptions,
): Promise<DebianSource> {
  options.progress.phase(`looking for ${packageOf(series)} in Debian's index`)
  await updateIndex(options.signal)
  const versions = await availableVersions(series, options.signal)
  const [newest] = versions
  if (newest === undefined) throw await noSuchSeries(series, options.signal)
  await remember(series, { newest, versions })
  const found = wanted === null ? newest : versions.find((version) => upstreamOf(version) === wanted)
  if (found !== undefined) return describe(series, found)
  throw usageError(
    `Debian has no source of Linux ${wanted}`,
    `Of ${series} it has: ${versions.map(upstreamOf).join(', ')}.`,
  )
}

/** Downloads the package, checked against Debian's signed index, unless it is there; returns its path. */
export async function downloadSource(source: DebianSource, options: DebianOptions): Promise<string> {
  const dir = sourcesDir()
  const file = join(dir, `${source.package}_${source.version}.deb`)
  if (existsSync(file)) return file
  options.progress.phase(`downloading ${source.package} ${source.version}`)
  await updateIndex(options.signal)
  const partial = join(dir, `download-${process.pid}`)
  await mkdir(partial, { recursive: true })
  try {
    const stop = reportSize(partial, options.progress)
    const args = [...aptArguments(), 'download', `${source.package}=${source.version}`]
    await run('apt-get', args, { cwd: partial, signal: options.signal }).finally(stop)
    const [name] = await readdir(partial)
    if (name === undefined) throw new GmemError(`apt-get downloaded nothing for ${source.package}`)
    await rename(join(partial, name), file)
  } finally {
    await rm(partial, { recursive: true, force: true })
  }
  return file
}

async function availableVersions(series: string, signal: AbortSignal | undefined): Promise<string[]> {
  // madison lists the newest first.
  const table = await run('apt-cache', [...aptArguments(), 'madison', packageOf(series)], { signal })
  const versions = table
    .split('\n')
    .map((line) => line.split('|')[1]?.trim())
    .filter((version): version is string => version !== undefined && version !== '')
  return [...new Set(versions)]
}

async function noSuchSeries(series: string, signal: AbortSignal | undefined): Promise<GmemError> {
  const names = await run('apt-cache', [...aptArguments(), 'pkgnames', 'linux-source-'], { signal })
  const known = names
    .split('\n')
    .filter((name) => /^linux-source-\d/.test(name))
    .map((name) => name.slice('linux-source-'.length))
    .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
  return usageError(
    `Debian has no source of Linux ${series}`,
    `It has: ${known.join(', ')}. Any other kernel: give its source tree or its bzImage.`,
  )
}

function describe(series: string, version: string): DebianSource {
  return { package: packageOf(series), version, upstream: upstreamOf(version) }
}

async function readRemembered(series: string): Promise<Remembered | null> {
  const text = await readFile(join(sourcesDir(), `${packageOf(series)}.json`), 'utf8').catch(() => null)
  if (text === null) return null
  try {
    const value: unknown = JSON.parse(text)
    return isRemembered(value) ? value : null
  } catch {
    return null
  }
}

function isRemembered(value: unknown): value is Remembered {
  if (typeof value !== 'object' || value === null) return false
  const { newest, versions } = value as Partial<Record<keyof Remembered, unknown>>
  return typeof newest === 'string' && Array.isArray(versions)
}

async function remember(series: string, found: Remembered): Promise<void> {
  await mkdir(sourcesDir(), { recursive: true })
  const file = join(sourcesDir(), `${packageOf(series)}.json`)
  await writeFile(`${file}.${process.pid}`, JSON.stringify(found))
  await rename(`${file}.${process.pid}`, file)
}

/** apt-get says nothing useful when it is no terminal, so the growing file is watched instead. */
function reportSize(dir: string, progress: Progress): () => void {
  const timer = setInterval(async () => {
    const [name] = await readdir(dir).catch(() => [])
    if (name === undefined) return
    const size = await stat(join(dir, name)).catch(() => null)
    if (size !== null) progress.update({ detail: `${Math.round(size.size / 1e6)} MB` })
  }, 500)
  return () => clearInterval(timer)
}
