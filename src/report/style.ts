// SPDX-License-Identifier: Apache-2.0
import pc from 'picocolors'
import { stripAnsi } from './values.js'

export type Colours = ReturnType<typeof pc.createColors>

/**
 * Colours where a person watches: on a terminal, in a GitHub log, or when FORCE_COLOR asks; never with NO_COLOR or TERM=dumb.
 */
export function coloursFor(
  stream: { readonly isTTY?: boolean },
  env: NodeJS.ProcessEnv = process.env,
): Colours {
  const wanted = env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== '0'
  const seen = (stream.isTTY === true && env.TERM !== 'dumb') || env.GITHUB_ACTIONS === 'true'
  return pc.createColors(!env.NO_COLOR && (wanted || seen))
}

/** A plain-text table: the first columns flush left, numbers flush right, escape sequences not counted. */
export function table(
  rows: readonly (readonly string[])[],
  align: readonly ('left' | 'right')[],
  indent = '',
): string[] {
  const widths = align.map((_, column) => Math.max(...rows.map((row) => visibleWidth(row[column] ?? ''))))
  return rows.map((row) => {
    const cells = row.map((cell, column) => {
      const padding = ' '.repeat((widths[column] ?? 0) - visibleWidth(cell))
      return align[column] === 'right' ? padding + cell : cell + padding
    })
    return (indent + cells.join('  ')).trimEnd()
  })
}

/** How many columns a text takes on a terminal. Test names and kernel texts are ASCII; our own marks are one column wide. */
export function visibleWidth(text: string): number {
  return [...stripAnsi(text)].length
}

/** Cuts a text without escape sequences to a width, with an ellipsis where something is missing. */
export function truncate(text: string, width: number): string {
  const characters = [...text]
  return characters.length <= width ? text : `${characters.slice(0, Math.max(0, width - 1)).join('')}…`
}

/** Breaks a text at spaces so that no line is wider than `width`; longer words (paths) are left whole. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && visibleWidth(line) + 1 + visibleWidth(word) > width) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...lines, line]
}

/** Indents every line that is not empty. */
export function indented(lines: readonly string[], indent: string): string[] {
  return lines.map((line) => (line === '' ? '' : indent + line))
}

/** A text behind a head, continued below its own start; on the next line where the head leaves no room. */
export function hanging(head: string, text: string, columns: number): string[] {
  const width = visibleWidth(head)
  if (columns - width < 40 && visibleWidth(text) > columns - width) {
    return [head.trimEnd(), ...indented(wrap(text, columns - 6), '      ')]
  }
  const [first = '', ...rest] = wrap(text, columns - width)
  return [head + first, ...indented(rest, ' '.repeat(width))]
}
