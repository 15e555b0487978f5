// SPDX-License-Identifier: Apache-2.0
import type { Splat } from './types.js'

/**
 * A bit of /proc/sys/kernel/tainted (Documentation/admin-guide/tainted-kernels.rst, kernel/panic.c
 * `taint_flags`).
 */
export interface TaintFlag {
  readonly bit: number
  readonly letter: string
  readonly meaning: string
  /** Whether it rises because something went wrong, and not because of how the kernel is used. */
  readonly trouble: boolean
}

/** As of 7.3, in the order of their bits. */
export const TAINT_FLAGS: readonly TaintFlag[] = [
  ['P', 'proprietary module', false],
  ['F', 'module loaded by force', false],
  ['S', 'CPU out of specification', false],
  ['R', 'module unloaded by force', false],
  ['M', 'machine check', true],
  ['B', 'bad page or corrupted slab', true],
  ['U', 'set by user space', false],
  ['D', 'oops or BUG', true],
  ['A', 'ACPI table overridden', false],
  ['W', 'warning', true],
  ['C', 'staging driver', false],
  ['I', 'firmware workaround', false],
  ['O', 'module from outside the tree', false],
  ['E', 'unsigned module', false],
  ['L', 'soft lockup', true],
  ['K', 'live patch', false],
  ['X', 'auxiliary, for distributions', false],
  ['T', 'randomized structures', false],
  ['N', 'test module', false],
  ['J', 'fwctl command', false],
].map(([letter, meaning, trouble], bit) => ({ bit, letter, meaning, trouble }) as TaintFlag)

/**
 * The flags that a value of /proc/sys/kernel/tainted holds; bits that this table does not know get the letter
 * `?`.
 */
export function decodeTaint(value: bigint): TaintFlag[] {
  const flags: TaintFlag[] = []
  for (let bit = 0; value >> BigInt(bit) > 0n; bit += 1) {
    if (((value >> BigInt(bit)) & 1n) === 0n) continue
    flags.push(TAINT_FLAGS[bit] ?? { bit, letter: '?', meaning: `unknown taint bit ${bit}`, trouble: false })
  }
  return flags
}

/** The flags of trouble that `after` has and `before` had not. */
export function newTrouble(before: bigint, after: bigint): TaintFlag[] {
  return decodeTaint(after & ~before).filter((flag) => flag.trouble)
}

/** The finding for flags of trouble that rose without a report in the log. `seq`: where the log stood. */
export function taintSplat(flags: readonly TaintFlag[], seq: number): Splat {
  const names = flags.map((flag) => `${flag.letter} (${flag.meaning})`).join(', ')
  return {
    kind: 'taint',
    title: `the kernel became tainted: ${names}`,
    fingerprint: `taint:${flags.map((flag) => flag.letter).join('')}`,
    task: null,
    cpu: null,
    function: null,
    fileLine: null,
    text: `/proc/sys/kernel/tainted: ${names} rose, and no report in the kernel log explains it`,
    firstSeq: seq,
    lastSeq: seq,
    count: 1,
    fatal: false,
  }
}
