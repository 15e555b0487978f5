// SPDX-License-Identifier: Apache-2.0

/**
 * vitest's text with every bigint in kernel-style hexadecimal: bigints are addresses, sizes and memory contents here, and
 * `expected 12297829382473034410n to be 0n` is no way to say `expected 0xaaaaaaaaaaaaaaaa to be 0x0`.
 */
export function hexBigints(text: string): string {
  return text.replace(/(?<![\w.$-])(-?)(\d+)n\b/g, (_, sign: string, digits: string) => {
    return `${sign}0x${BigInt(digits).toString(16)}`
  })
}

/** `0.21 s`, `18.3 s`, `2 min 05 s`: three digits are enough for a person. */
export function seconds(ms: number): string {
  const s = ms / 1000
  if (s < 9.995) return `${s.toFixed(2)} s`
  if (s < 99.95) return `${s.toFixed(1)} s`
  const whole = Math.round(s)
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`
}

/** `1 test`, `2 tests`, `0 tests`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** For sort: by code units, the same on every machine. */
export function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Text without terminal escape sequences: for files, and for measuring. */
export function stripAnsi(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: ESC is what an escape sequence starts with.
  return text.replace(/\u001b\[[0-9;?]*[ -/]*[@-~]/g, '')
}

/** Text as it stands between the tags of HTML, SVG or Markdown. */
export function escapeMarkup(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

/** The items by key, keys in order of first appearance (Node 20 has no Map.groupBy). */
export function groupBy<T, K>(items: Iterable<T>, keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group) group.push(item)
    else groups.set(key, [item])
  }
  return groups
}
