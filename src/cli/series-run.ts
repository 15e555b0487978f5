// SPDX-License-Identifier: Apache-2.0
import type { SeriesPatch } from '../kernels/series.js'
import { compareTargets } from '../report/compare.js'
import { fromTheMiddle, locate } from '../report/locate.js'
import {
  isTrouble,
  pointResult,
  type SeriesResult,
  type SeriesRow,
  seriesExitCode,
  type Trouble,
} from '../report/series.js'
import { isKernel, type PointRuns, type SeriesPoints } from './series-points.js'

/** Whether each patch is tried, the ends alone, or what lies between them where they differ. */
export type SeriesMode = SeriesResult['mode']

/** A series as it is tried: which of its points build, and what the tests say of them. */
export class SeriesRun {
  /** Patches that do not build, which those after them are tried without. */
  readonly #leftOut = new Set<number>()
  readonly #builds = new Map<number, 'yes' | Trouble>()
  readonly #without = new Map<number, readonly number[]>()
  readonly #runs = new Map<number, PointRuns>()

  constructor(
    readonly points: SeriesPoints,
    readonly patches: readonly SeriesPatch[],
  ) {}

  /** Tries the series, and tells about each row as it is known. */
  async try(mode: SeriesMode): Promise<void> {
    const last = this.patches.length
    await this.#testAt(0)
    if (mode === 'every') {
      await this.#tryEach()
      return
    }
    if (mode === 'bisect') await this.#findUnbuildable()
    await this.#testAt(last)
    if (mode === 'ends') return
    await locate<PointRuns>(0, last, {
      look: async (point) => this.#runs.get(point) ?? (await this.#testAt(point)),
      differ: (a, b) => compareTargets(a.targets, b.targets).changes.some(({ kind }) => !/er$/.test(kind)),
    })
  }

  /** What is known of the base and of every patch. */
  async rows(): Promise<SeriesRow[]> {
    const { applied } = await this.points.repo.reach(this.patches.length, this.#leftOut)
    const rows: SeriesRow[] = [this.#row(0, 'the base', '', null, null)]
    for (const { number, title, author } of this.patches) {
      // A patch that is left out applied before it was.
      const own = applied.get(number) ?? (await this.#appliedAlone(number))
      const applies = own.ok ? (own.merged ? 'merged' : 'yes') : { reason: own.reason, log: null }
      rows.push(this.#row(number, title, author, applies, this.#testedBefore(number)))
    }
    return rows
  }

  async result(about: Pick<SeriesResult, 'series' | 'base' | 'mode' | 'folder'>): Promise<SeriesResult> {
    const rows = await this.rows()
    const release = this.#runs.get(0)?.kernel.release ?? ''
    return { format: 1, ...about, release, rows, exitCode: seriesExitCode(rows) }
  }

  #row(
    number: number,
    title: string,
    author: string,
    applies: SeriesRow['applies'],
    before: number | null,
  ): SeriesRow {
    const runs = this.#runs.get(number)
    const old = before === null ? undefined : this.#runs.get(before)
    return {
      number,
      title,
      author,
      applies,
      builds: isTrouble(applies) ? null : (this.#builds.get(number) ?? null),
      without: this.#without.get(number) ?? [],
      result: runs ? pointResult(runs.kernel.id, runs.targets, runs.folders) : null,
      comparedWith: runs && old ? before : null,
      changes: runs && old ? compareTargets(old.targets, runs.targets).changes : [],
    }
  }

  #testedBefore(number: number): number | null {
    return [...this.#runs.keys()].filter((other) => other < number).sort((a, b) => b - a)[0] ?? null
  }

  async #appliedAlone(number: number) {
    const others = new Set([...this.#leftOut].filter((other) => other !== number))
    const { applied } = await this.points.repo.reach(number, others)
    return applied.get(number) ?? { ok: false as const, reason: 'it was not tried' }
  }

  /** Every patch in turn. One that does not build stays in, for a later one may mend it, until that fails and is fine without. */
  async #tryEach(): Promise<void> {
    let suspects: number[] = []
    for (const { number } of this.patches) {
      const { applied } = await this.points.repo.reach(number, this.#leftOut)
      if (!applied.get(number)?.ok) continue
      if (await this.#testAt(number)) suspects = []
      else if (suspects.length > 0 && (await this.#testWithout(number, suspects))) suspects = []
      else suspects.push(number)
    }
  }

  async #testWithout(number: number, suspects: readonly number[]): Promise<boolean> {
    const { applied } = await this.points.repo.reach(number, new Set([...this.#leftOut, ...suspects]))
    if (!applied.get(number)?.ok) return false
    for (const suspect of suspects) this.#leftOut.add(suspect)
    if (await this.#testAt(number)) return true
    for (const suspect of suspects) this.#leftOut.delete(suspect)
    return false
  }

  /** Until the last point builds: finds, by halves, the first patch from which on none does, and goes on without it. */
  async #findUnbuildable(): Promise<void> {
    const last = this.patches.length
    while (this.#leftOut.size < last && !(await this.#buildAt(last))) {
      let [good, bad] = [0, last]
      while (bad - good > 1) {
        const middle = fromTheMiddle(good, bad)[0] ?? bad
        if (await this.#buildAt(middle)) good = middle
        else bad = middle
      }
      await this.#buildAt(bad)
      this.#leftOut.add(bad)
    }
  }

  /** Builds and tests a point, and keeps what came of it; null where it does not build. */
  async #testAt(number: number): Promise<PointRuns | null> {
    const kernel = await this.#buildAt(number)
    if (!kernel) return null
    const runs = await this.points.test(number, kernel)
    this.#runs.set(number, runs)
    return runs
  }

  async #buildAt(number: number) {
    const built = await this.points.build(number, this.#leftOut)
    // What does not build by itself is remembered so, though the rest goes on without it.
    if (!this.#leftOut.has(number)) this.#builds.set(number, isKernel(built) ? 'yes' : built)
    this.#without.set(number, [...this.#leftOut].filter((other) => other < number).sort())
    return isKernel(built) ? built : null
  }
}
