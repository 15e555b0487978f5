// SPDX-License-Identifier: Apache-2.0

/** One part of a run whose test files are divided: `index` from 1 to `count`. */
export interface Shard {
  readonly index: number
  readonly count: number
}

/** As it is written: `2/3`. */
export function shardText({ index, count }: Shard): string {
  return `${index}/${count}`
}

/** The shard that `2/3` means, or null where it means none. */
export function parseShard(text: string): Shard | null {
  const [, index, count] = /^([1-9]\d{0,3})\/([1-9]\d{0,3})$/.exec(text) ?? []
  if (index === undefined || count === undefined || Number(index) > Number(count)) return null
  return { index: Number(index), count: Number(count) }
}
