// SPDX-License-Identifier: Apache-2.0

/**
 * The name of a test in a result as a pattern for `gmem test -t`: vitest matches it against suites and title with a space between them,
 * the result against either form.
 */
export function namePatternOf(name: string): string {
  const parts = name.split(' > ').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return parts.join('(?: >)? ')
}
