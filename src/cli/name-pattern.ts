// SPDX-License-Identifier: Apache-2.0

/**
 * The names of tests in a result as a pattern for `gmem test -t`, without anchors: vitest matches it against suites and title with a space
 * between them, the result against either form.
 */
export function namesPattern(names: Iterable<string>): string {
  return `(?:${[...names].map(nameSource).join('|')})`
}

function nameSource(name: string): string {
  const parts = name.split(' > ').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return parts.join('(?: >)? ')
}
