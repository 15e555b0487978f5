// SPDX-License-Identifier: Apache-2.0
import type { Coverage, LineCoverage } from './model.js'
import type { Subject } from './subjects.js'
import type { Unreachable } from './unreachable.js'

/** How much of something was reached, of what can be. */
export interface Share {
  readonly reached: number
  readonly total: number
}

/** A line of a subject, with its place in the source. */
export interface SubjectLine {
  readonly number: number
  readonly text: string
  readonly coverage: LineCoverage | null
  /** Why it, or some way out of it, cannot be reached here; null where all can. */
  readonly unreachable: string | null
  /** What of it counts apart. */
  readonly apart: 'line' | { readonly branches: number }
}

/** A function or, where all of a file counts, the file. */
export interface SubjectReport {
  readonly subject: Subject
  readonly lines: readonly SubjectLine[]
  readonly line: Share
  readonly branch: Share
  /** Lines and branches that cannot be reached here: counted apart. */
  readonly apart: { readonly lines: number; readonly branches: number }
  /** What is said to be out of reach and was reached, as sentences: the list is wrong there. */
  readonly refuted: readonly string[]
}

/** Puts together what was reached of a subject. `source`: its file's text. */
export function reportSubject(
  subject: Subject,
  coverage: Coverage,
  source: string,
  unreachable: readonly Unreachable[],
): SubjectReport {
  const file = coverage.files.get(subject.file)
  const entries = unreachable.filter((entry) => entry.file === subject.file)
  const refuted: string[] = []
  const lines: SubjectLine[] = source.split('\n').flatMap((text, index) => {
    const number = index + 1
    const line = file?.lines.get(number) ?? null
    const functionName = line?.functionName ?? functionAt(file?.functions, number)
    if (subject.functions && !(functionName && subject.functions.test(functionName))) return []
    const entry = entries.find(
      (candidate) =>
        candidate.functionName === functionName && (!candidate.text || text.includes(candidate.text)),
    )
    const base = { number, text, coverage: line, unreachable: entry?.reason ?? null }
    if (entry === undefined) return [{ ...base, apart: { branches: 0 } }]
    const refutation = line && refute(entry, line)
    if (refutation) refuted.push(`${subject.file}:${number} (${functionName}): ${refutation}`)
    // What was reached can be reached, whatever the list says.
    if (entry.branches === undefined) {
      const apart = (line?.count ?? 0) > 0 ? { branches: 0 } : ('line' as const)
      return [{ ...base, apart }]
    }
    return [{ ...base, apart: { branches: Math.min(entry.branches, untakenOf(line)) } }]
  })
  return { subject, lines, ...sharesOf(lines), refuted }
}

/** What of the list's claim the tests have proved wrong; '' where nothing. */
function refute({ branches }: Unreachable, line: LineCoverage): string {
  const [first] = line.tests
  if (branches === undefined) return line.count === 0 ? '' : `was reached, first by ${first}`
  const untaken = untakenOf(line)
  return untaken >= branches ? '' : `has ${untaken} ways out that were never taken, not ${branches}`
}

function sharesOf(lines: readonly SubjectLine[]): Pick<SubjectReport, 'line' | 'branch' | 'apart'> {
  const counted = lines.flatMap(({ coverage, apart }) => (coverage === null ? [] : [{ coverage, apart }]))
  const can = counted.filter(({ apart }) => apart !== 'line')
  const branches = (of: typeof counted): number => sum(of.map(({ coverage }) => coverage.branches.length))
  const apart = sum(
    counted.map((each) => (each.apart === 'line' ? each.coverage.branches.length : each.apart.branches)),
  )
  return {
    line: { reached: can.filter(({ coverage }) => coverage.count > 0).length, total: can.length },
    branch: {
      reached: branches(can) - sum(can.map(({ coverage }) => untakenOf(coverage))),
      total: branches(counted) - apart,
    },
    apart: { lines: counted.length - can.length, branches: apart },
  }
}

/** Ways out of a line that were never taken. */
function untakenOf(line: LineCoverage | null): number {
  return line?.branches.filter((count) => count === 0).length ?? 0
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

function functionAt(
  functions: ReadonlyMap<string, { readonly start: number; readonly end: number }> | undefined,
  line: number,
): string | undefined {
  for (const [name, { start, end }] of functions ?? []) if (start <= line && line <= end) return name
  return undefined
}
