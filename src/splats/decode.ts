// SPDX-License-Identifier: Apache-2.0
import { type Frame, parseFrame, parseRip } from './stack.js'
import { type RunProgram, SymbolTable } from './symbols.js'
import type { Splat } from './types.js'

export interface DecoderOptions {
  /** vmlinux with debug information; null where there is none. */
  readonly vmlinux: string | null
  /** The unstripped .ko of a module, or null. Module names have `_` for `-`. */
  readonly moduleFile: (name: string) => string | null
  readonly run: RunProgram
  /** Folders whose names are taken off the source paths, such as the kernel tree. */
  readonly sourceRoots: readonly string[]
}

/** What of a splat the decoder reads and changes. */
export type Decodable = Pick<Splat, 'text' | 'fileLine' | 'function'>

export interface DecodedSplat<S extends Decodable = Splat> {
  readonly splat: S
  /** Why some or all frames have no file and line; null where all have. */
  readonly reason: string | null
}

interface Located {
  readonly lineIndex: number
  readonly frame: Frame
  readonly isReturnAddress: boolean
}

/**
 * Finds the source lines of stack frames with readelf and addr2line. Symbol tables are read once and kept.
 */
export class SplatDecoder {
  readonly #tables = new Map<string, Promise<SymbolTable>>()

  constructor(readonly options: DecoderOptions) {}

  /**
   * The splat with ` (file:line)` after every frame that could be found, and with `fileLine` where the report
   * had none. Never rejects: what cannot be decoded stays as it was, and `reason` says why.
   */
  async decode<S extends Decodable>(splat: S): Promise<DecodedSplat<S>> {
    const lines = splat.text.split('\n')
    const reasons = new Set<string>()
    let fileLine = splat.fileLine
    for (const [file, frames] of this.#byFile(lines, reasons)) {
      const places = await this.#locate(file, frames).catch((error: unknown) => {
        reasons.add(error instanceof Error ? error.message : String(error))
        return new Map<Located, string>()
      })
      if (places.size === 0 && reasons.size === 0)
        reasons.add(`${file}: no debug information (CONFIG_DEBUG_INFO)`)
      for (const [{ lineIndex, frame }, place] of places) {
        lines[lineIndex] = `${lines[lineIndex]} (${place})`
        if (fileLine === null && frame.function.split('.')[0] === splat.function)
          fileLine = place.split(' ')[0] ?? null
      }
    }
    const reason = reasons.size === 0 ? null : [...reasons].join('; ')
    return { splat: { ...splat, fileLine, text: lines.join('\n') }, reason }
  }

  #byFile(lines: readonly string[], reasons: Set<string>): Map<string, Located[]> {
    const files = new Map<string, Located[]>()
    for (const [lineIndex, line] of lines.entries()) {
      const rip = parseRip(line)
      const frame = rip ?? parseFrame(line)
      if (frame === null) continue
      const file = frame.module === null ? this.options.vmlinux : this.options.moduleFile(frame.module)
      if (file === null)
        reasons.add(
          frame.module === null ? 'no vmlinux is known' : `no unstripped ${frame.module}.ko is known`,
        )
      else files.set(file, [...(files.get(file) ?? []), { lineIndex, frame, isReturnAddress: rip === null }])
    }
    return files
  }

  async #locate(file: string, frames: readonly Located[]): Promise<Map<Located, string>> {
    const table = await this.#table(file)
    const sections = new Map<string, { located: Located; address: bigint }[]>()
    for (const located of frames) {
      const code = table.resolve(located.frame, located.isReturnAddress)
      if (code === null) continue
      const section = table.relocatable ? table.sectionName(code.section) : ''
      sections.set(section, [...(sections.get(section) ?? []), { located, address: code.address }])
    }
    const places = new Map<Located, string>()
    for (const [section, wanted] of sections) {
      const found = await this.#addr2line(
        file,
        section,
        wanted.map((each) => each.address),
      )
      for (const [index, { located }] of wanted.entries()) {
        const place = found[index] ?? null
        if (place !== null) places.set(located, place)
      }
    }
    return places
  }

  #table(file: string): Promise<SymbolTable> {
    const known = this.#tables.get(file) ?? SymbolTable.load(file, this.options.run)
    this.#tables.set(file, known)
    return known
  }

  /**
   * One place per address: `a.h:1 inlined by b.c:2` from the inside out, or null where the debug information
   * has none.
   */
  async #addr2line(file: string, section: string, addresses: readonly bigint[]): Promise<(string | null)[]> {
    const inSection = section === '' ? [] : ['-j', section]
    const wanted = addresses.map((address) => `0x${address.toString(16)}`)
    const { stdout, exitCode } = await this.options.run('addr2line', [
      '-a',
      '-i',
      '-e',
      file,
      ...inSection,
      ...wanted,
    ])
    if (exitCode !== 0) throw new Error(`addr2line ${file}: exit code ${exitCode}`)
    const answers = stdout.split(/^0x[0-9a-f]+$/m).slice(1)
    return answers.map((answer) => {
      const places = answer.split('\n').filter((line) => /:\d+(?: \(|$)/.test(line) && !line.startsWith('??'))
      return places.length === 0 ? null : places.map((place) => this.#shorten(place)).join(' inlined by ')
    })
  }

  #shorten(place: string): string {
    // `./` at the start: a kernel that was built to name its tree so.
    const plain = place.replace(/ \(discriminator \d+\)$/, '').replace(/(^|\/)(?:\.\/)+/g, '$1')
    const root = this.options.sourceRoots.find((folder) => plain.startsWith(`${folder.replace(/\/$/, '')}/`))
    return root === undefined ? plain : plain.slice(root.replace(/\/$/, '').length + 1)
  }
}
