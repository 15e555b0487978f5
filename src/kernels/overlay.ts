// SPDX-License-Identifier: Apache-2.0
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { execa } from 'execa'
import { GmemError } from '../errors.js'
import type { Patch } from './patches.js'
import { programError, toolEnvironment } from './run.js'

export interface OverlayTree {
  /** The source tree that is built. */
  readonly src: string
  /** Where the unpatched form of each patched file is kept; a file that patches add is listed in `absent`. */
  readonly pristine: string
}

/**
 * Makes the tree its pristine source plus these patches, whatever patches it had before, and writes only the
 * files whose content changes: so make rebuilds no more than it has to. Returns the paths that were written.
 * A patch that does not apply throws a GmemError with exit code 125 and leaves the tree as it was.
 */
export async function applyOverlay(
  tree: OverlayTree,
  before: readonly string[],
  patches: readonly Patch[],
  signal?: AbortSignal,
): Promise<string[]> {
  const touched = [...new Set(patches.flatMap((patch) => patch.touches))]
  for (const path of touched) keepPristine(tree, path)
  const stage = await mkdtemp(join(dirname(tree.src), 'stage-'))
  try {
    for (const path of touched) stagePristine(tree, path, stage)
    for (const patch of patches) await applyPatch(patch, stage, signal)
    const written: string[] = []
    for (const path of new Set([...before, ...touched])) {
      if (!isKept(tree, path)) continue
      const wanted = join(touched.includes(path) ? stage : join(tree.pristine, 'files'), path)
      if (install(wanted, join(tree.src, path))) written.push(path)
    }
    return written
  } finally {
    await rm(stage, { recursive: true, force: true })
  }
}

/** Copies these files, as they are without any patch, into a folder; those that the source does not have are left out. */
export function copyPristine(tree: OverlayTree, paths: readonly string[], to: string): void {
  for (const path of paths) {
    if (isKept(tree, path)) stagePristine(tree, path, to)
    else if (existsSync(join(tree.src, path))) copyDeep(join(tree.src, path), join(to, path))
  }
}

/** Takes the new content of a file that patches have changed here from where the tree comes from. */
export function refreshPristine(tree: OverlayTree, path: string, from: string): void {
  rmSync(join(tree.pristine, 'absent', path), { force: true })
  copyDeep(from, join(tree.pristine, 'files', path))
}

/** Records that the tree's origin no longer has this file. */
export function forgetPristine(tree: OverlayTree, path: string): void {
  if (!isKept(tree, path)) {
    rmSync(join(tree.src, path), { force: true })
    return
  }
  rmSync(join(tree.pristine, 'files', path), { force: true })
  writeDeep(join(tree.pristine, 'absent', path), '')
}

/** Whether patches have changed this file at some time, so that its pristine content is kept. */
export function isKept(tree: OverlayTree, path: string): boolean {
  return existsSync(join(tree.pristine, 'files', path)) || existsSync(join(tree.pristine, 'absent', path))
}

function keepPristine(tree: OverlayTree, path: string): void {
  if (isKept(tree, path)) return
  const source = join(tree.src, path)
  if (existsSync(source)) copyDeep(source, join(tree.pristine, 'files', path))
  else writeDeep(join(tree.pristine, 'absent', path), '')
}

function stagePristine(tree: OverlayTree, path: string, stage: string): void {
  const source = join(tree.pristine, 'files', path)
  if (existsSync(source)) copyDeep(source, join(stage, path))
}

/** Applies a patch to the files in `stage`. A patch that does not apply throws a GmemError with exit code 125. */
export async function applyPatch(patch: Patch, stage: string, signal?: AbortSignal): Promise<void> {
  // No fuzz: a hunk whose context differs may land in the wrong place, and the kernel would not be what was asked for.
  const args = ['-p1', '--fuzz=0', '--forward', '--batch', '--no-backup-if-mismatch', '--reject-file=-']
  const result = await execa('patch', [...args, '-i', patch.file], {
    cwd: stage,
    reject: false,
    all: true,
    env: toolEnvironment(),
    extendEnv: false,
    ...(signal ? { cancelSignal: signal } : {}),
  })
  if (!result.failed) return
  const isRefused = result.exitCode === 1 || /malformed|Only garbage/.test(result.all)
  if (!isRefused) throw programError('patch', args, result)
  const lines = refusals(result.all)
  throw new GmemError(`the patch ${patch.name} does not apply\n  ${lines.slice(0, 8).join('\n  ')}`, {
    exitCode: 125,
    hint: 'It was made for another version of the source, or needs a patch set applied before it.',
  })
}

/** What patch says of the hunks that it did not take, each with its file. */
function refusals(output: string): string[] {
  let file = ''
  const lines: string[] = []
  for (const line of output.split('\n')) {
    file = /^(?:patching|checking) file (\S+)/.exec(line)?.[1] ?? file
    if (/FAILED at|Reversed|can't find file|malformed|Only garbage|No file to patch/.test(line)) {
      lines.push(`${file}: ${line.replace('  Skipping patch.', '')}`)
    }
  }
  return lines
}

/** Puts the wanted content (none: the file goes) in place; false when it was there already. */
function install(wanted: string, target: string): boolean {
  if (!existsSync(wanted)) {
    if (!existsSync(target)) return false
    rmSync(target)
    return true
  }
  if (existsSync(target) && readFileSync(wanted).equals(readFileSync(target))) return false
  copyDeep(wanted, `${target}.gmem-new`)
  renameSync(`${target}.gmem-new`, target)
  return true
}

function copyDeep(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  copyFileSync(from, to)
}

function writeDeep(file: string, content: string): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, content)
}
