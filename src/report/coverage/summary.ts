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
  /** Why it cannot be reached here; null where it can. */
  readonly unreachable: string | null
}

/** A function or, where all of a file counts, the file. */
export interface SubjectReport {
  readonly subject: Subject
  readonly lines: readonly SubjectLine[]
  readonly line: Share
  readonly branch: Share
  /** Lines and branches that cannot be reached here: counted apart. */
  readonly apart: { readonly lines: number; readonly branches: number }
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
  const lines: SubjectLine[] = source.split('\n').flatMap((text, index) => {
    const line = file?.lines.get(index + 1) ?? null
    const functionName = line?.functionName ?? functionAt(file?.functions, index + 1)
    if (subject.functions && !(functionName && subject.functions.test(functionName))) return []
    const entry = entries.find(
      (candidate) =>
        candidate.functionName === functionName && (!candidate.text || text.includes(candidate.text)),
    )
    return [{ number: index + 1, text, coverage: line, unreachable: entry?.reason ?? null }]
  })
  const counted = lines.filter(({ coverage: line }) => line !== null)
  const can = counted.filter((line) => line.unreachable === null)
  const cannot = counted.filter((line) => line.unreachable !== null)
  return {
    subject,
    lines,
    line: { reached: can.filter(({ coverage: line }) => (line?.count ?? 0) > 0).length, total: can.length },
    branch: {
      reached: branchesOf(can).filter((count) => count > 0).length,
      total: branchesOf(can).length,
    },
    apart: { lines: cannot.length, branches: branchesOf(cannot).length },
  }
}

function branchesOf(lines: readonly SubjectLine[]): number[] {
  return lines.flatMap(({ coverage }) => coverage?.branches ?? [])
}

function functionAt(
  functions: ReadonlyMap<string, { readonly start: number; readonly end: number }> | undefined,
  line: number,
): string | undefined {
  for (const [name, { start, end }] of functions ?? []) if (start <= line && line <= end) return name
  return undefined
}
