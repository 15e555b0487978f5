// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { ExitCode, GmemError } from '../errors.js'
import { cacheRoot } from '../paths.js'
import type { Progress } from '../progress.js'
import { type BuildTree, createTree, openTree, prepareTree, treeDirOf } from './build-tree.js'
import { lookUpKernel } from './cache.js'
import { asNoSpace, NoSpaceError, requireFreeSpace } from './disk.js'
import { makeVariables } from './flavours.js'
import { installKernel } from './install.js'
import { checkConfig } from './kconfig.js'
import { acquireLock } from './lock.js'
import { type MakeOptions, make } from './make.js'
import { isOnlyOfModules, makeModules, makingOf } from './make-modules.js'
import type { BuildRequest } from './request.js'
import { listSourceTree, type Source } from './source-tree.js'
import { buildTestModules, isWorthRebuilding } from './test-modules.js'
import { requireBuildTools } from './toolchain.js'
import { type TreeState, writeTreeState } from './tree-state.js'
import type { KernelImage } from './types.js'

const GiB = 1024 ** 3
/** 160 MB of package, 1.7 GB of source, 0.4 GB of objects (much more with KASAN); the rest is reserve. */
const newTreeBytes = 4 * GiB
const oldTreeBytes = GiB / 2
/** What `bzImage modules` of base.config made of 7.3.4: the measure until a build of one's own is known. */
const usualObjects = 1978

export interface BuildOptions {
  readonly progress: Progress
  readonly signal?: AbortSignal | undefined
  readonly jobs?: number | undefined
}

/**
 * Builds the kernel into the cache. One build at a time runs in a tree: a second gmem waits for the first and then
 * uses what it left. Throws GmemError: 125 for a patch or a source that does not build, 69 for want of space or
 * tools, 130 when the signal fired. Nothing half-built is ever found in the cache.
 */
export async function buildKernel(request: BuildRequest, options: BuildOptions): Promise<KernelImage> {
  await requireBuildTools()
  const treeDir = treeDirOf(request.source, request.flavour)
  const lock = await acquireLock(`${treeDir}.lock`, {
    signal: options.signal,
    onWait: (holder) =>
      options.progress.phase(`waiting for another gmem (${holder}) that builds in the same tree`),
  })
  try {
    const meanwhile = lookUpKernel(request.id, request.key)
    if (meanwhile !== null && !(await isWorthRebuilding(request, meanwhile))) return meanwhile
    if (meanwhile !== null) options.progress.note(`${request.id} is built again, for its test modules`)
    return await buildInTree(treeDir, request, options)
  } finally {
    await lock.release()
    options.progress.end()
  }
}

/** Where everything is that make printed when a kernel of this name was last built. */
export function buildLogOf(id: string): string {
  return join(cacheRoot(), 'logs', `build-${id}.log`)
}

async function buildInTree(
  treeDir: string,
  request: BuildRequest,
  options: BuildOptions,
): Promise<KernelImage> {
  const startedAt = performance.now()
  const old = openTree(treeDir)
  await requireFreeSpace(cacheRoot(), old === null ? newTreeBytes : oldTreeBytes, `building ${request.id}`)
  const log = buildLogOf(request.id)
  await mkdir(dirname(log), { recursive: true })
  writeFileSync(log, '')
  // Whether the tree can serve again when something below throws.
  let reusable = old !== null
  let tree: BuildTree | null = old
  try {
    if (tree !== null) setClean(tree, false)
    tree ??= await createTree(treeDir, request.source, options)
    // Debian's source is whole now; a copy of somebody's tree is only when it has been synced for the first time.
    reusable ||= request.source.kind === 'debian'
    const changed = await prepareTree(tree, request.source, request.patches, options)
    reusable = true
    // While make runs: git takes a third of a second to say so.
    const unchanged = checkUnchanged(request.source, options.signal)
    unchanged.catch(() => {})
    const settings: MakeOptions = {
      src: tree.src,
      isPathFree: tree.state.isPathFree,
      toolchain: request.toolchain,
      jobs: options.jobs ?? availableParallelism(),
      log,
      what: request.id,
      signal: options.signal,
      onKilled: () => {
        reusable = false
      },
    }
    await configure(tree, request, changed.some(isKconfig), settings, options)
    // A tree that was edited meanwhile may well not build: that says nothing of its source.
    await compile(tree, request, changed, settings, options).finally(() => unchanged)
    options.progress.phase(`storing ${request.id}`)
    const seconds = (performance.now() - startedAt) / 1000
    const image = await installKernel(tree.src, request, settings, seconds)
    // Now, while the tree is this kernel's: the next one to be built in it may have other patches.
    await buildTestModules(image, { src: tree.src, signal: options.signal })
    return image
  } catch (error) {
    const reason = asNoSpace(error, treeDir)
    // What fills the disk is of no use to anybody.
    if (reason instanceof NoSpaceError) reusable = false
    throw reason
  } finally {
    if (tree !== null && reusable) setClean(tree, true)
    else await rm(treeDir, { recursive: true, force: true })
  }
}

async function configure(
  tree: BuildTree,
  request: BuildRequest,
  kconfigChanged: boolean,
  settings: MakeOptions,
  { progress, signal }: BuildOptions,
): Promise<void> {
  const wanted = createHash('sha256').update(request.fragments).digest('hex')
  const current =
    !kconfigChanged && tree.state.configuredWith === wanted && existsSync(join(tree.src, '.config'))
  if (!current) {
    progress.phase(`configuring ${request.id}`)
    const fragments = join(tree.dir, 'fragments.config')
    writeFileSync(fragments, request.fragments)
    tree.state.configuredWith = null
    await make([`KCONFIG_ALLCONFIG=${fragments}`, 'allnoconfig'], { ...settings, jobs: 1 })
    tree.state.configuredWith = wanted
    // Another configuration may build all objects again.
    if (!tree.state.finished) tree.state.objects = 0
  }
  const known = current ? tree.state.configReport : undefined
  const report = known ?? (await checkConfig(tree.src, request.fragments, signal))
  tree.state.configReport = report
  if (report.missing.length > 0) {
    throw new GmemError(`${request.id}: this source cannot have ${report.missing.join(', ')}`, {
      exitCode: ExitCode.buildFailed,
      hint: 'Without these the kernel does not boot under gmem, or has no guest_memfd.',
    })
  }
  if (report.lost.length > 0)
    progress.warn(`configuration not possible in this source: ${report.lost.join(', ')}`)
  if (report.unknown.length > 0) progress.note(`not known to this source: ${report.unknown.join(', ')}`)
}

const isKconfig = (path: string): boolean => /(^|\/)Kconfig[^/]*$/.test(path)

async function compile(
  tree: BuildTree,
  request: BuildRequest,
  changed: readonly string[],
  settings: MakeOptions,
  { progress }: BuildOptions,
): Promise<void> {
  const { state } = tree
  const expected = state.finished ? null : expectedObjects(request)
  const making = makingOf(request)
  const isPartial = state.madeWith === making && isOnlyOfModules(tree.src, changed)
  // Until all is made.
  state.madeWith = undefined
  let objects = 0
  progress.phase(`building ${request.id}`)
  try {
    const onObject = (object: string): void => {
      objects++
      if (expected === null) progress.update({ detail: `${objects} rebuilt, ${object}` })
      else progress.update({ fraction: Math.min((state.objects + objects) / expected, 0.99), detail: object })
    }
    if (isPartial) await makeModules(request, { ...settings, onObject })
    else await make([...makeVariables(request.fragments), 'bzImage', 'modules'], { ...settings, onObject })
  } finally {
    if (!state.finished) state.objects += objects
  }
  if (!state.finished) rememberObjects(request, state)
  state.finished = true
  state.madeWith = making
}

/** The tree of a person who edits it meanwhile may be copied half before and half after: such a kernel has no name. */
async function checkUnchanged(source: Source, signal?: AbortSignal): Promise<void> {
  if (source.kind !== 'tree') return
  const now = await listSourceTree(source.path, signal)
  if (now.identity === source.listing.identity) return
  throw new GmemError(`${source.path} changed while it was copied`, { hint: 'Run it again.' })
}

function setClean(tree: BuildTree, clean: boolean): void {
  tree.state.clean = clean
  writeTreeState(tree.dir, tree.state)
}

const countsFile = (): string => join(cacheRoot(), 'object-counts.json')

const countName = (request: BuildRequest): string =>
  `${request.source.kind === 'debian' ? request.source.debian.package : 'tree'} ${request.flavour}`

function readCounts(): Record<string, number> {
  try {
    return JSON.parse(readFileSync(countsFile(), 'utf8')) as Record<string, number>
  } catch {
    return {}
  }
}

function expectedObjects(request: BuildRequest): number {
  return readCounts()[countName(request)] ?? usualObjects
}

function rememberObjects(request: BuildRequest, state: TreeState): void {
  const counts = { ...readCounts(), [countName(request)]: state.objects }
  writeFileSync(countsFile(), JSON.stringify(counts))
}
