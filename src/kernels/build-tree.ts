// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { lstatSync, rmSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { interruptedError } from '../errors.js'
import type { Progress } from '../progress.js'
import { downloadSource } from './debian.js'
import { NoSpaceError } from './disk.js'
import { applyOverlay, forgetPristine, isKept, type OverlayTree, refreshPristine } from './overlay.js'
import type { Patch } from './patches.js'
import { type ProgramResult, programError, toolEnvironment } from './run.js'
import type { GitState, Source, SourceListing } from './source-tree.js'
import { emptyTreeState, readTreeState, type TreeState, treesDir, writeTreeState } from './tree-state.js'

/**
 * A tree in the cache in which kernels of one source and flavour are built, one after the other. Patch sets come
 * and go in it, so that a build costs what differs from the build before; ccache has the rest.
 */
export interface BuildTree extends OverlayTree {
  readonly dir: string
  readonly state: TreeState
}

export interface PrepareOptions {
  readonly progress: Progress
  readonly signal?: AbortSignal | undefined
}

/** The folder of the tree for a source and flavour. The content of a user's tree is not part of it: it is synced. */
export function treeDirOf(source: Source, flavour: string): string {
  const origin = source.kind === 'debian' ? `${source.debian.package} ${source.debian.version}` : source.path
  const name = source.kind === 'debian' ? source.debian.upstream : 'tree'
  return join(treesDir(), `${name}-${flavour}-${treeHash(origin, flavour)}`)
}

/** The end of a tree's name. `origin`: the source in words, as a built kernel's manifest has it. */
export function treeHash(origin: string, flavour: string): string {
  return createHash('sha256').update(`${origin}\0${flavour}`).digest('hex').slice(0, 12)
}

/** Opens the tree, if it is there whole; else removes what is left of it. */
export function openTree(dir: string): BuildTree | null {
  const state = readTreeState(dir)
  if (state?.clean) return treeAt(dir, state)
  rmSync(dir, { recursive: true, force: true })
  return null
}

/** Makes the tree hold the source with these patches. Returns which of its files changed. */
export async function prepareTree(
  tree: BuildTree,
  source: Source,
  patches: readonly Patch[],
  options: PrepareOptions,
): Promise<readonly string[]> {
  const changed = source.kind === 'tree' ? await syncTree(tree, source.path, source.listing, options) : []
  // A file that patches changed at some time is synced into its pristine copy, from where the overlay installs it.
  const before = [...tree.state.patched, ...changed.filter((path) => isKept(tree, path))]
  if (patches.length > 0 || before.length > 0) {
    const touched = patches.flatMap((patch) => patch.touches)
    // Should this be interrupted half way, the next build knows which files to look at.
    tree.state.patched = [...new Set([...before, ...touched])]
    changed.push(...(await applyOverlay(tree, before, patches, options.signal)))
    tree.state.patched = [...new Set(touched)]
  }
  return changed
}

/** Makes a new tree: Debian's source unpacked, or an empty folder that the first sync fills. */
export async function createTree(dir: string, source: Source, options: PrepareOptions): Promise<BuildTree> {
  const tree = treeAt(dir, emptyTreeState())
  await mkdir(tree.src, { recursive: true })
  writeTreeState(dir, tree.state)
  if (source.kind === 'debian') {
    const deb = await downloadSource(source.debian, options)
    options.progress.phase(`unpacking ${source.debian.package} ${source.debian.version}`)
    await unpack(deb, source.debian.package, tree.src, options.signal)
  }
  return tree
}

function treeAt(dir: string, state: TreeState): BuildTree {
  return { dir, src: join(dir, 'src'), pristine: join(dir, 'pristine'), state }
}

async function unpack(deb: string, name: string, to: string, signal?: AbortSignal): Promise<void> {
  const shared = {
    env: toolEnvironment(),
    extendEnv: false,
    buffer: { stdout: false },
    ...(signal ? { cancelSignal: signal } : {}),
  } as const
  const inner = execa('dpkg-deb', ['--fsys-tarfile', deb], shared)
    .pipe('tar', ['--extract', '--to-stdout', `./usr/src/${name}.tar.xz`], shared)
    .pipe('tar', ['--extract', '--xz', '--no-same-owner', '--strip-components=1', '-C', to], shared)
  try {
    await inner
  } catch (error) {
    if (signal?.aborted) throw interruptedError()
    const reason = tarError(error, to)
    // A damaged download would fail in the same way every time.
    if (!(reason instanceof NoSpaceError)) await rm(deb, { force: true })
    throw reason
  }
}

/** Copies what changed in somebody's tree since the last time, and removes what went. Returns the changed paths. */
async function syncTree(
  tree: BuildTree,
  from: string,
  listing: SourceListing,
  { progress, signal }: PrepareOptions,
): Promise<string[]> {
  progress.phase(`copying what changed in ${from}`)
  const { copied, copiedAt } = tree.state
  const { look, now } = whatToLookAt(listing, copied, copiedAt)
  // Should this end half way, some files are here that were dirty only now.
  tree.state.copiedAt = undefined
  const fresh: string[] = []
  for (const path of look) {
    const stats = lstatSync(join(from, path), { throwIfNoEntry: false })
    if (stats === undefined || stats.isDirectory()) continue
    const stamp = `${stats.size}:${stats.mtimeMs}:${stats.ino}`
    now[path] = stamp
    if (copied[path] !== stamp) fresh.push(path)
  }
  const patched = fresh.filter((path) => isKept(tree, path))
  for (const path of patched) refreshPristine(tree, path, join(from, path))
  await copyFiles(
    from,
    tree.src,
    fresh.filter((path) => !patched.includes(path)),
    signal,
  )
  const gone = Object.keys(copied).filter((path) => now[path] === undefined)
  for (const path of gone) forgetPristine(tree, path)
  tree.state.copied = now
  tree.state.copiedAt = listing.git
  return [...fresh, ...gone]
}

/** A kernel has 96 000 files: those that git knows to be as they were when they were copied are not looked at one by one. */
function whatToLookAt(
  { files, git }: SourceListing,
  copied: Readonly<Record<string, string>>,
  copiedAt: GitState | undefined,
): { look: readonly string[]; now: Record<string, string> } {
  if (git === undefined || git.commit !== copiedAt?.commit) return { look: files, now: {} }
  const suspects = new Set([...git.dirty, ...copiedAt.dirty])
  const now = { ...copied }
  for (const path of suspects) delete now[path]
  return { look: files.filter((path) => suspects.has(path)), now }
}

/** tar copies a whole tree many times faster than one call a file. The copies get the present time, for make's sake. */
async function copyFiles(
  from: string,
  to: string,
  paths: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  if (paths.length === 0) return
  const shared = {
    env: toolEnvironment(),
    extendEnv: false,
    ...(signal ? { cancelSignal: signal } : {}),
  } as const
  const reading = ['--create', '-C', from, '--null', '--verbatim-files-from', '--files-from=-']
  try {
    await execa('tar', reading, {
      ...shared,
      input: `${paths.join('\0')}\0`,
      buffer: { stdout: false },
    }).pipe('tar', ['--extract', '--touch', '--no-same-owner', '-C', to], shared)
  } catch (error) {
    throw signal?.aborted ? interruptedError() : tarError(error, to)
  }
}

function tarError(error: unknown, to: string): Error {
  const failure = error as ProgramResult
  return /No space left/.test(String(failure.stderr))
    ? new NoSpaceError(to)
    : programError('tar', [], failure)
}
