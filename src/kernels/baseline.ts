// SPDX-License-Identifier: Apache-2.0
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { usageError } from '../errors.js'
import type { Progress } from '../progress.js'
import { createTree, openTree, treeDirOf } from './build-tree.js'
import { lookUpKernel } from './cache.js'
import { diffOptions, git } from './git.js'
import { acquireLock } from './lock.js'
import { applyPatch, copyPristine } from './overlay.js'
import { type Patch, readPatches, touchedPaths } from './patches.js'
import { type BuildRequest, makeRequest } from './request.js'
import { findBase } from './resolve.js'
import type { Source } from './source-tree.js'
import { type KernelSpec, parseKernelSpec } from './spec.js'
import { findToolchain, type Toolchain } from './toolchain.js'
import { writeTreeState } from './tree-state.js'
import type { KernelImage } from './types.js'

export interface BaselineOptions {
  readonly progress: Progress
  readonly signal?: AbortSignal | undefined
}

/** The kernel that a series is applied to: a source with its patch sets, and, in a git tree, the commit it is taken at. */
export interface Baseline {
  readonly spec: KernelSpec
  readonly source: Source
  readonly toolchain: Toolchain
  /** From what lies in the tree to the commit; none where that is the same. */
  readonly before: readonly Patch[]
}

/** Finds the source of a kernel that is to be patched. Throws a usage error for a ready image. */
export async function openBaseline(text: string, options: BaselineOptions): Promise<Baseline> {
  const spec = parseKernelSpec(text)
  if (spec.base.kind === 'image') {
    throw usageError(
      `kernel "${text}" is a ready image, which cannot be patched`,
      'Name a version (7.3) or a source tree.',
    )
  }
  const toolchain = await findToolchain()
  if (toolchain === null) throw usageError('there is no compiler (gcc, ld) to build kernels with')
  const source = await findBase(spec, { build: true }, { progress: options.progress, signal: options.signal })
  options.progress.end()
  if (source === null) throw usageError(`kernel "${text}" has no source`)
  return { spec, source, toolchain, before: [] }
}

/**
 * The same at a commit of its git tree. The tree itself stays as it is: what the commit has differently becomes a patch, below `work`.
 * A tree with uncommitted changes is a usage error.
 */
export async function atCommit(
  baseline: Baseline,
  commit: string,
  work: string,
  signal?: AbortSignal,
): Promise<Baseline> {
  const tree = treeOf(baseline)
  const changes = await git(tree, ['status', '--porcelain', '--untracked-files=no'], { signal })
  if (changes !== '') {
    throw usageError(
      `${tree} has uncommitted changes, so that its commits are not what would be built`,
      'Commit or stash them.',
    )
  }
  // These are no part of a kernel's build, and hold most of the symbolic links and binary files.
  const kernelOnly = ['.', ':!Documentation', ':!tools/testing', ':!tools/perf']
  const text = await git(tree, ['diff', ...diffOptions, 'HEAD', commit, '--', ...kernelOnly], { signal })
  const patch = writePatch(text, join(work, `${commit}.patch`), `the way to ${commit.slice(0, 12)}`)
  return { ...baseline, before: patch === null ? [] : [patch] }
}

/** The path of the git tree that a baseline is. Throws a usage error where it is none. */
export function treeOf({ source, spec }: Baseline): string {
  if (source.kind === 'tree' && existsSync(join(source.path, '.git'))) return source.path
  throw usageError(`kernel "${spec.text}" is no git tree`, 'A range of commits needs one: --base ~/linux.')
}

/** Copies files as they are in the baseline, its patch sets applied, into an empty folder. */
export async function copyBaseFiles(
  baseline: Baseline,
  paths: readonly string[],
  to: string,
  options: BaselineOptions,
): Promise<void> {
  const patches = [...baseline.before, ...readPatches(baseline.spec.patches)]
  const wanted = [...new Set([...paths, ...patches.flatMap(({ touches }) => touches)])]
  mkdirSync(to, { recursive: true })
  if (baseline.source.kind === 'tree') copyFrom(baseline.source.path, wanted, to)
  else await copyFromBuildTree(baseline, wanted, to, options)
  for (const patch of patches) await applyPatch(patch, to, options.signal)
}

/** Builds the baseline with a patch on it, or as it is; found in the cache where it was built before. */
export async function buildOn(
  baseline: Baseline,
  patch: Patch | null,
  options: BaselineOptions,
): Promise<KernelImage> {
  const request = requestOn(baseline, patch)
  const found = lookUpKernel(request.id, request.key)
  if (found !== null) return found
  const { buildKernel } = await import('./build.js')
  return await buildKernel(request, options)
}

/** What that kernel is called. */
export function nameOn(baseline: Baseline, patch: Patch | null): string {
  return requestOn(baseline, patch).id
}

function requestOn({ spec, source, toolchain, before }: Baseline, patch: Patch | null): BuildRequest {
  return makeRequest(spec, source, toolchain, { before, after: patch === null ? [] : [patch] })
}

/** A diff as a patch in a file of its own; null where there is no difference. */
export function writePatch(text: string, file: string, name: string): Patch | null {
  if (text === '') return null
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${text}\n`)
  return { name, file, text: `${text}\n`, touches: touchedPaths(text, name) }
}

function copyFrom(tree: string, paths: readonly string[], to: string): void {
  for (const path of paths) {
    if (existsSync(join(tree, path))) cpSync(join(tree, path), join(to, path), { recursive: false })
  }
}

/** Debian's source lies in the tree where its kernels are built, which is unpacked here where it is not there yet. */
async function copyFromBuildTree(
  { source, spec }: Baseline,
  paths: readonly string[],
  to: string,
  options: BaselineOptions,
): Promise<void> {
  const dir = treeDirOf(source, spec.flavour)
  const lock = await acquireLock(`${dir}.lock`, {
    signal: options.signal,
    onWait: (holder) => options.progress.phase(`waiting for another gmem (${holder}) that builds in ${dir}`),
  })
  try {
    const tree = openTree(dir) ?? (await createTree(dir, source, options))
    copyPristine(tree, paths, to)
    if (!tree.state.clean) writeTreeState(dir, { ...tree.state, clean: true })
  } finally {
    await lock.release()
    options.progress.end()
  }
}
