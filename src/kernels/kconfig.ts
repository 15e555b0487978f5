// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './run.js'

export interface ConfigLine {
  readonly symbol: string
  /** `y`, `m`, `n`, or a number or string as it stands in .config. */
  readonly value: string
  /** The kernel is of no use without it: the lines below a `# [required]` comment, to `# [optional]`. */
  readonly required: boolean
}

export interface ConfigReport {
  /** Lines marked required that the kernel's configuration does not have. */
  readonly missing: readonly string[]
  /** Other lines that did not survive: some dependency is not met in this source. */
  readonly lost: readonly string[]
  /** Symbols that this source does not know at all: an older or a newer kernel. */
  readonly unknown: readonly string[]
}

/** The lines of a configuration fragment; where a symbol is named twice the last line counts. */
export function parseFragment(text: string): ConfigLine[] {
  const lines = new Map<string, ConfigLine>()
  let required = false
  for (const line of text.split('\n')) {
    if (/^#\s*\[required\]/.test(line)) required = true
    if (/^#\s*\[optional\]/.test(line)) required = false
    const set = /^CONFIG_(\w+)=(.*)$/.exec(line)
    const unset = /^# CONFIG_(\w+) is not set$/.exec(line)
    const symbol = set?.[1] ?? unset?.[1]
    if (symbol !== undefined) lines.set(symbol, { symbol, value: set?.[2] ?? 'n', required })
  }
  return [...lines.values()]
}

/** Compares what the fragments asked for with the .config that came of it. */
export async function checkConfig(
  src: string,
  fragments: string,
  signal?: AbortSignal,
): Promise<ConfigReport> {
  const got = new Map(
    parseFragment(readFileSync(join(src, '.config'), 'utf8')).map(({ symbol, value }) => [symbol, value]),
  )
  const unmet = parseFragment(fragments).filter(({ symbol, value }) => !satisfies(got.get(symbol), value))
  const known = unmet.length === 0 ? new Set<string>() : await knownSymbols(src, signal)
  const describe = ({ symbol, value }: ConfigLine): string =>
    `CONFIG_${symbol}=${value} (is ${got.get(symbol) ?? 'n'})`
  return {
    missing: unmet.filter((line) => line.required).map(describe),
    lost: unmet.filter((line) => !line.required && known.has(line.symbol)).map(describe),
    unknown: unmet.filter((line) => !line.required && !known.has(line.symbol)).map(({ symbol }) => symbol),
  }
}

function satisfies(got: string | undefined, wanted: string): boolean {
  if (wanted === 'n') return got === undefined || got === 'n'
  // A module that something built in selects becomes built in.
  return got === wanted || (wanted === 'm' && got === 'y')
}

async function knownSymbols(src: string, signal?: AbortSignal): Promise<Set<string>> {
  const args = ['-rhoE', '--include=Kconfig*', '^[[:space:]]*(menu)?config[[:space:]]+[A-Z0-9_]+', '.']
  const found = await run('grep', args, { cwd: src, signal, alsoFine: 1 })
  return new Set(found.split('\n').map((line) => line.replace(/^.*\s/, '')))
}
