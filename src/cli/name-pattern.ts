// SPDX-License-Identifier: Apache-2.0

/** The name of a test in a result as a pattern that vitest understands: it matches suites and title with a space between them. */
export function namePatternOf(name: string): string {
  return name.replaceAll(' > ', ' ').replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
