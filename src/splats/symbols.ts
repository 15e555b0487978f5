// SPDX-License-Identifier: Apache-2.0
import type { Frame } from './stack.js'

/** Runs a program and returns its output; rejects where it cannot be started. */
export type RunProgram = (
  command: string,
  args: readonly string[],
) => Promise<{ readonly stdout: string; readonly exitCode: number }>

interface FunctionSymbol {
  readonly address: bigint
  /** To the next symbol of the section, as kallsyms counts it: padding included. */
  readonly size: bigint
  readonly section: string
}

/** Where an instruction is, in the terms of addr2line. */
export interface CodeAddress {
  readonly address: bigint
  readonly section: string
}

/** The functions of vmlinux or of a module, by name. */
export class SymbolTable {
  private constructor(
    readonly file: string,
    /** Modules are relocatable: addresses count from the start of a section, which addr2line must be told. */
    readonly relocatable: boolean,
    private readonly functions: ReadonlyMap<string, readonly FunctionSymbol[]>,
    private readonly sections: ReadonlyMap<string, string>,
  ) {}

  /** Reads an ELF file with readelf. Throws Error where it has no symbols or readelf fails. */
  static async load(file: string, run: RunProgram): Promise<SymbolTable> {
    const { stdout, exitCode } = await run('readelf', ['-hSsW', file])
    if (exitCode !== 0) throw new Error(`readelf ${file}: exit code ${exitCode}`)
    const sections = new Map<string, string>()
    for (const [, index = '', name = ''] of stdout.matchAll(/^ *\[ *(\d+)\] (\S+) /gm))
      sections.set(index, name)
    const functions = parseFunctions(stdout)
    if (functions.size === 0) throw new Error(`${file}: no symbols (stripped)`)
    return new SymbolTable(file, /^ *Type: +REL /m.test(stdout), functions, sections)
  }

  /** The name of a section, from its index. */
  sectionName(section: string): string {
    return this.sections.get(section) ?? section
  }

  /**
   * The instruction of a frame: the call for a return address, the instruction itself for a register's. Null
   * where the function is not there, or several have that name and size.
   */
  resolve(frame: Frame, isReturnAddress: boolean): CodeAddress | null {
    const named = this.functions.get(frame.function) ?? []
    const sized = named.filter((symbol) => symbol.size === BigInt(frame.size))
    const chosen = sized.length === 1 ? sized[0] : named.length === 1 ? named[0] : undefined
    if (chosen === undefined) return null
    const address = chosen.address + BigInt(frame.offset) - (isReturnAddress ? 1n : 0n)
    return { address, section: chosen.section }
  }
}

const SYMBOL = /^ *\d+: ([0-9a-f]+) +\S+ (FUNC|NOTYPE|OBJECT) +\S+ +\S+ +(\d+) (\S+)/gm

function parseFunctions(readelf: string): Map<string, FunctionSymbol[]> {
  const symbols = [...readelf.matchAll(SYMBOL)].map(([, value = '', type = '', section = '', name = '']) => ({
    address: BigInt(`0x${value}`),
    type,
    section,
    name,
  }))
  const ends = endOfEach(symbols)
  const functions = new Map<string, FunctionSymbol[]>()
  for (const { address, type, section, name } of symbols) {
    if (type !== 'FUNC') continue
    const size = (ends.get(section)?.get(address) ?? address) - address
    const known = functions.get(name)
    if (known === undefined) functions.set(name, [{ address, size, section }])
    else known.push({ address, size, section })
  }
  return functions
}

/** By section and address: where the next symbol starts. */
function endOfEach(
  symbols: readonly { readonly address: bigint; readonly section: string }[],
): Map<string, Map<bigint, bigint>> {
  const bySection = new Map<string, Set<bigint>>()
  for (const { address, section } of symbols) {
    const known = bySection.get(section)
    if (known === undefined) bySection.set(section, new Set([address]))
    else known.add(address)
  }
  const ends = new Map<string, Map<bigint, bigint>>()
  for (const [section, set] of bySection) {
    const sorted = [...set].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
    ends.set(
      section,
      new Map(sorted.slice(0, -1).map((address, index) => [address, sorted[index + 1] ?? address])),
    )
  }
  return ends
}
