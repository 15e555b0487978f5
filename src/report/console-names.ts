// SPDX-License-Identifier: Apache-2.0

/** `12.log`, or `saved.log`, of a console of this target; null where the file is none. Merging numbers several of the latter. */
export function consoleEnding(name: string, targetId: string): string | null {
  const start = `console-${targetId}-`
  const ending = name.startsWith(start) ? name.slice(start.length) : ''
  return /^(\d+|saved(-\d+)?)\.log$/.test(ending) ? ending : null
}
