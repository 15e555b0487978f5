// SPDX-License-Identifier: Apache-2.0

/** Code that no VM on this kind of machine can reach, and why. */
export interface Unreachable {
  readonly file: string
  readonly functionName: string
  /** Only the lines that hold this text; the whole function where absent. */
  readonly text?: string
  readonly reason: string
}

/**
 * Parses the list: an entry is `FILE FUNCTION` or `FILE FUNCTION: TEXT OF THE LINE`, and under it, indented, `reason: …`. `#` begins a
 * comment. Throws Error with the line's number.
 */
export function parseUnreachable(source: string): Unreachable[] {
  const entries: Unreachable[] = []
  let open: Omit<Unreachable, 'reason'> | null = null
  for (const [index, line] of source.split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const reason = /^\s+reason:\s+(\S.*)$/.exec(line)?.[1]
    const [, file, functionName, text] = /^(\S+) (\w+)(?:: (\S.*))?$/.exec(line) ?? []
    if (reason !== undefined && open !== null) {
      entries.push({ ...open, reason })
      open = null
    } else if (open === null && file !== undefined && functionName !== undefined) {
      open = { file, functionName, ...(text === undefined ? {} : { text }) }
    } else throw new Error(`line ${index + 1}: expected ${open ? '  reason: …' : 'FILE FUNCTION[: TEXT]'}`)
  }
  if (open !== null) throw new Error(`the last entry has no reason`)
  return entries
}
