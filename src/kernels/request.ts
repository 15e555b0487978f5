// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { readFragments } from './flavours.js'
import { type Patch, readPatches } from './patches.js'
import type { Source } from './source-tree.js'
import { type KernelSpec, kernelId } from './spec.js'
import type { Toolchain } from './toolchain.js'

/** All that decides what a build gives, found out and hashed. */
export interface BuildRequest {
  readonly id: string
  /** SHA-256 over source, configuration fragments, patches and compiler, in hex. */
  readonly key: string
  readonly flavour: string
  readonly source: Source
  readonly patchSets: readonly string[]
  readonly patches: readonly Patch[]
  readonly fragments: string
  readonly toolchain: Toolchain
}

/** Counted up when gmem builds differently from the same input. */
const buildGeneration = 1

/** Patches that belong to no patch set: those of a series under test. */
export interface ExtraPatches {
  /** Applied before the patch sets. */
  readonly before: readonly Patch[]
  /** Applied after them. */
  readonly after: readonly Patch[]
}

export function makeRequest(
  spec: KernelSpec,
  source: Source,
  toolchain: Toolchain,
  { before, after }: ExtraPatches = { before: [], after: [] },
): BuildRequest {
  const patches = [...before, ...readPatches(spec.patches), ...after]
  const fragments = readFragments(spec.flavour)
  const identity = source.kind === 'debian' ? sourceName(source) : source.listing.identity
  const parts = [
    String(buildGeneration),
    identity,
    spec.flavour,
    fragments,
    toolchain.identity,
    ...patches.map(({ text }) => text),
  ]
  const hash = createHash('sha256')
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:`).update(part)
  return {
    id: kernelId(spec) + extraName([...before, ...after]),
    key: hash.digest('hex'),
    flavour: spec.flavour,
    source,
    patchSets: spec.patches,
    patches,
    fragments,
    toolchain,
  }
}

/** `@1f0c3a9e`: the same for the same change of the source, whichever series it comes from. */
function extraName(patches: readonly Patch[]): string {
  if (patches.length === 0) return ''
  const hash = createHash('sha256')
  for (const { text } of patches) hash.update(text)
  return `@${hash.digest('hex').slice(0, 8)}`
}

/** The source in words: `linux-source-7.3 7.3.4-1~bpo13+1`, or the path of the tree. */
export function sourceName(source: Source): string {
  return source.kind === 'debian' ? `${source.debian.package} ${source.debian.version}` : source.path
}
