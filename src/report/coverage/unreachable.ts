// SPDX-License-Identifier: Apache-2.0

/** Code that no VM on this kind of machine can reach, and why. */
export interface Unreachable {
  readonly file: string
  readonly functionName: string
  /** Only the lines that hold this text; the whole function where absent. */
  readonly text?: string
  /** The lines can be reached, but not so many of the ways out of each; the lines themselves cannot where absent. */
  readonly branches?: number
  readonly reason: string
}

type Draft = Omit<Unreachable, 'reason'>

/**
 * Parses the list: an entry is `FILE FUNCTION` or `FILE FUNCTION: TEXT OF THE LINE`, and under it, indented, `branches: N` where only so many
 * of its ways out are meant, and `reason: …`. `#` begins a comment. Throws Error with the line's number.
 */
export function parseUnreachable(source: string): Unreachable[] {
  const entries: Unreachable[] = []
  let open: Draft | null = null
  for (const [index, line] of source.split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const [, field, value] = /^\s+(branches|reason):\s+(\S.*)$/.exec(line) ?? []
    const [, file, functionName, text] = /^(\S+) (\w+)(?:: (\S.*))?$/.exec(line) ?? []
    if (open !== null && field === 'reason' && value !== undefined) {
      entries.push({ ...open, reason: value })
      open = null
    } else if (open?.text !== undefined && field === 'branches' && Number(value) > 0) {
      open = withBranches(open, Number(value))
    } else if (open === null && file !== undefined && functionName !== undefined) {
      open = { file, functionName, ...(text === undefined ? {} : { text }) }
    } else throw new Error(`line ${index + 1}: expected ${open ? '  reason: …' : 'FILE FUNCTION[: TEXT]'}`)
  }
  if (open !== null) throw new Error(`the last entry has no reason`)
  return entries
}

function withBranches(draft: Draft, branches: number): Draft {
  return { ...draft, branches }
}
