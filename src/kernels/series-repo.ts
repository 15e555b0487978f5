// SPDX-License-Identifier: Apache-2.0
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { interruptedError } from '../errors.js'
import { type Baseline, type BaselineOptions, copyBaseFiles, writePatch } from './baseline.js'
import { diffOptions, git } from './git.js'
import type { Patch } from './patches.js'
import type { SeriesPatch } from './series.js'

/** How a patch went on. */
export type Applied =
  | { readonly ok: true; readonly commit: string; readonly merged: boolean }
  | { readonly ok: false; readonly reason: string }

/** The source after some patches of a series. */
export interface Point {
  readonly commit: string
  /** How each patch that was tried went, by its number. */
  readonly applied: ReadonlyMap<number, Applied>
}

/**
 * A series on its base, in a repository of its own that holds nothing but the files that the series touches: so neither a tree of the
 * user's nor one in the cache is written to, and a patch costs milliseconds. What `git am` does is done step by step, so that a
 * patch which does not apply can be named and left out.
 */
export class SeriesRepo {
  readonly #tried = new Map<string, Applied>()

  private constructor(
    readonly folder: string,
    readonly base: string,
    readonly patches: readonly SeriesPatch[],
    /** Whether the blobs that the patches were made from may be at hand, for a three-way merge. */
    readonly canMerge: boolean,
    readonly signal: AbortSignal | undefined,
  ) {}

  /** Makes the repository below `work`. */
  static async create(
    baseline: Baseline,
    patches: readonly SeriesPatch[],
    work: string,
    options: BaselineOptions,
  ): Promise<SeriesRepo> {
    const { signal } = options
    const folder = join(work, 'repository')
    await copyBaseFiles(baseline, [...new Set(patches.flatMap(({ touches }) => touches))], folder, options)
    await git(folder, ['init', '--quiet', '--template='], { signal })
    const canMerge = await borrowObjects(baseline, folder, signal)
    // The tree's own .gitignore files may be among the files, and exclude all others.
    await git(folder, ['add', '--all', '--force', '.'], { signal })
    const tree = await git(folder, ['write-tree'], { signal })
    const base = await git(folder, ['commit-tree', '-m', 'base', tree], { signal })
    return new SeriesRepo(folder, base, patches, canMerge, signal)
  }

  /** The source after patch `last` (0: the base), without those left out. A patch that does not apply is skipped. */
  async reach(last: number, leftOut: ReadonlySet<number> = new Set()): Promise<Point> {
    let commit = this.base
    const applied = new Map<number, Applied>()
    for (const patch of this.patches.slice(0, last)) {
      if (leftOut.has(patch.number)) continue
      const outcome = await this.#apply(patch, commit)
      applied.set(patch.number, outcome)
      if (outcome.ok) commit = outcome.commit
    }
    return { commit, applied }
  }

  /** All that differs between the base and a point, as one patch: two series that come to the same are the same kernel. */
  async change({ commit }: Point): Promise<Patch | null> {
    const text = await git(this.folder, ['diff', ...diffOptions, this.base, commit], { signal: this.signal })
    return writePatch(text, join(this.folder, '..', `${commit}.patch`), 'the series')
  }

  async #apply(patch: SeriesPatch, parent: string): Promise<Applied> {
    const key = `${parent} ${patch.number}`
    const known = this.#tried.get(key)
    if (known) return known
    const outcome = await this.#tryApply(patch, parent)
    this.#tried.set(key, outcome)
    return outcome
  }

  async #tryApply(patch: SeriesPatch, parent: string): Promise<Applied> {
    const words = ['apply', '--index', '--whitespace=nowarn', `-p${patch.strip}`]
    await this.#git('reset', '--quiet', '--hard', parent)
    const refusal = await this.#refusalOf([...words, patch.file])
    if (refusal === null) return await this.#commit(patch, parent, false)
    if (this.canMerge && (await this.#refusalOf([...words, '--3way', patch.file])) === null) {
      return await this.#commit(patch, parent, true)
    }
    await this.#git('reset', '--quiet', '--hard', parent)
    const isThere = (await this.#refusalOf([...words, '--reverse', '--check', patch.file])) === null
    return { ok: false, reason: isThere ? 'it is in the source already' : refusal }
  }

  async #commit(patch: SeriesPatch, parent: string, merged: boolean): Promise<Applied> {
    const tree = await this.#git('write-tree')
    const commit = await this.#git('commit-tree', '-p', parent, '-m', patch.title, tree)
    return { ok: true, commit, merged }
  }

  /** Null where git takes it; else what it says, without the word error. */
  async #refusalOf(args: readonly string[]): Promise<string | null> {
    try {
      await this.#git(...args)
      return null
    } catch (error) {
      if (this.signal?.aborted) throw interruptedError()
      const lines = String(error instanceof Error ? error.message : error).split('\n')
      const said = lines.map((line) => line.trim()).filter((line) => line.startsWith('error: '))
      return said.length > 0 ? said.map((line) => line.slice('error: '.length)).join('\n') : lines.join('\n')
    }
  }

  async #git(...args: string[]): Promise<string> {
    return await git(this.folder, args, { signal: this.signal })
  }
}

/** Lets the repository see the objects of the user's: a patch names the blobs it was made from. */
async function borrowObjects({ source }: Baseline, folder: string, signal?: AbortSignal): Promise<boolean> {
  if (source.kind !== 'tree') return false
  try {
    const objects = await git(source.path, ['rev-parse', '--path-format=absolute', '--git-path', 'objects'], {
      signal,
    })
    await writeFile(join(folder, '.git', 'objects', 'info', 'alternates'), `${objects}\n`)
    return true
  } catch {
    if (signal?.aborted) throw interruptedError()
    return false
  }
}
