// SPDX-License-Identifier: Apache-2.0
import { existsSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { usageError } from '../errors.js'
import { listFlavours } from './flavours.js'
import { listPatchSets } from './patches.js'

/** Where a kernel comes from. */
export type KernelBase =
  | { readonly kind: 'debian'; readonly series: string; readonly version: string | null }
  | { readonly kind: 'tree'; readonly path: string }
  | { readonly kind: 'image'; readonly path: string; readonly modules: string | null }

/** A kernel as a person asked for it, parsed and checked against what is there. */
export interface KernelSpec {
  /** What was written. */
  readonly text: string
  readonly base: KernelBase
  /**
   * Patch sets of vm-images/patches, in the order in which they are applied. That is the order of
   * listPatchSets however they were named: the sets are written on top of each other in it, and the same
   * sets are the same kernel.
   */
  readonly patches: readonly string[]
  /** `plain`, or the name of a fragment in vm-images/kernel. */
  readonly flavour: string
}

/** What `gmem` uses when no kernel is named: $GMEM_KERNEL, else `7.3`. */
export function defaultKernelSpec(): string {
  const wanted = process.env.GMEM_KERNEL
  return wanted === undefined || wanted === '' ? '7.3' : wanted
}

/**
 * Parses `7.3`, `7.3.4`, `~/linux`, `path/to/bzImage[,modules=DIR]`, each but the last with any of
 * `+PATCHSET` and `-FLAVOUR` behind it. Throws a GmemError with exit code 2 that says what is wrong.
 */
export function parseKernelSpec(
  text: string,
  extra: { readonly patches?: readonly string[]; readonly flavour?: string } = {},
): KernelSpec {
  const { base, suffixes } = parseBase(text)
  const patches: string[] = []
  const flavours: string[] = []
  for (const suffix of suffixes) (suffix.startsWith('+') ? patches : flavours).push(suffix.slice(1))
  patches.push(...(extra.patches ?? []))
  if (extra.flavour !== undefined && !flavours.includes(extra.flavour)) flavours.push(extra.flavour)

  for (const name of patches) checkPatchSet(text, name)
  for (const name of flavours) checkFlavour(text, name)
  if (flavours.length > 1) {
    throw usageError(`kernel "${text}": more than one flavour (${flavours.join(', ')})`)
  }
  if (base.kind === 'image' && patches.length + flavours.length > 0) {
    throw usageError(
      `kernel "${text}": ${base.path} is a ready image, which cannot be patched or given a flavour`,
      'Name a version (7.3) or a source tree instead.',
    )
  }
  return {
    text,
    base,
    patches: listPatchSets().filter((set) => patches.includes(set)),
    flavour: flavours[0] ?? 'plain',
  }
}

/** The short name of a kernel: `7.3`, `7.3+inplace-conversion`, `linux-debug`, `bzImage`. */
export function kernelId(spec: KernelSpec): string {
  const { base } = spec
  const name = base.kind === 'debian' ? (base.version ?? base.series) : basename(base.path)
  const patches = spec.patches.map((patch) => `+${patch}`).join('')
  return name + patches + (spec.flavour === 'plain' ? '' : `-${spec.flavour}`)
}

function parseBase(text: string): { base: KernelBase; suffixes: readonly string[] } {
  const version = /^(\d+\.\d+)(\.\d+)?((?:[+-][A-Za-z][\w.]*(?:-[A-Za-z0-9][\w.]*)*)*)$/.exec(text)
  if (version?.[1] !== undefined) {
    const series = version[1]
    const base = { kind: 'debian', series, version: version[2] ? series + version[2] : null } as const
    return { base, suffixes: splitSuffixes(version[3] ?? '') }
  }
  if (/^v\d+\.\d+/.test(text)) {
    throw usageError(`kernel "${text}": versions are written without the v, as in ${text.slice(1)}`)
  }
  const { path, options, suffixes } = splitPath(text)
  return { base: classifyPath(text, path, options), suffixes }
}

/** A name may itself hold dashes, so the longest known flavour at the end wins: `+inplace-conversion-debug`. */
function splitSuffixes(text: string): string[] {
  const parts = text.split(/(?=\+)/).filter((part) => part !== '')
  return parts.flatMap((part) => {
    if (part.startsWith('-')) return [part]
    const sets = listPatchSets()
    if (sets.includes(part.slice(1))) return [part]
    const flavour = listFlavours().find((name) => part.endsWith(`-${name}`))
    return flavour === undefined ? [part] : [part.slice(0, -flavour.length - 1), `-${flavour}`]
  })
}

/** The longest prefix that exists is the path; what follows are suffixes or `,modules=DIR`. */
function splitPath(text: string): { path: string; options: string; suffixes: string[] } {
  const comma = text.lastIndexOf(',modules=')
  const options = comma < 0 ? '' : text.slice(comma + 1)
  const whole = comma < 0 ? text : text.slice(0, comma)
  for (let end = whole.length; end > 0; end = nextCut(whole, end)) {
    const path = expand(whole.slice(0, end))
    if (existsSync(path)) return { path, options, suffixes: splitSuffixes(whole.slice(end)) }
  }
  throw usageError(
    whole.includes('/')
      ? `kernel "${text}": ${expand(whole)} does not exist`
      : `kernel "${text}" is neither a version, nor a file or folder that exists`,
    'A kernel is a version (7.3, 6.12, 7.3.4), a source tree, or a bzImage[,modules=DIR]; +PATCHSET and -FLAVOUR may follow.',
  )
}

function nextCut(text: string, end: number): number {
  return Math.max(text.lastIndexOf('+', end - 1), text.lastIndexOf('-', end - 1), 0)
}

function classifyPath(text: string, path: string, options: string): KernelBase {
  const modules = options === '' ? null : expand(options.slice('modules='.length))
  if (statSync(path).isDirectory()) {
    if (modules !== null) throw usageError(`kernel "${text}": modules= goes with an image, not a source tree`)
    if (existsSync(join(path, 'Makefile')) && existsSync(join(path, 'Kconfig'))) return { kind: 'tree', path }
    throw usageError(
      `kernel "${text}": the folder ${path} is no kernel source tree (it has no Makefile and Kconfig)`,
    )
  }
  if (modules !== null && !(existsSync(modules) && statSync(modules).isDirectory())) {
    throw usageError(`kernel "${text}": the modules folder ${modules} does not exist`)
  }
  return { kind: 'image', path, modules }
}

function checkPatchSet(text: string, name: string): void {
  const known = listPatchSets()
  if (known.includes(name)) return
  throw usageError(
    `kernel "${text}": there is no patch set "${name}"`,
    known.length > 0 ? `There are: ${known.join(', ')}.` : 'vm-images/patches holds none yet.',
  )
}

function checkFlavour(text: string, name: string): void {
  const known = listFlavours()
  if (known.includes(name)) return
  throw usageError(`kernel "${text}": there is no flavour "${name}"`, `There are: ${known.join(', ')}.`)
}

function expand(path: string): string {
  return resolve(path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path)
}
