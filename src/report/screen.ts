// SPDX-License-Identifier: Apache-2.0
import { Writable } from 'node:stream'
import { type Colours, coloursFor, truncate } from './style.js'

/** What of a WriteStream is used: a test can give any Writable. */
export interface OutputStream extends Writable {
  readonly isTTY?: boolean
  readonly columns?: number
}

const CLEAR_LINE = '\r\u001b[2K'
const HIDE_CURSOR = '\u001b[?25l'
const SHOW_CURSOR = '\u001b[?25h'
const DEFAULT_COLUMNS = 100

/**
 * Lines that stay, and below them, on a terminal, one status line that is redrawn. Whatever is not a terminal (a file, a pipe, a CI
 * log) gets the lines that stay and nothing else.
 */
export class Screen {
  readonly colours: Colours
  /** Whether a status line can be drawn. */
  readonly isLive: boolean
  #status = ''
  #isBroken = false
  /** Whether the last line is empty: two in a row are one too many. */
  #endsBlank = true
  /** When something that stays was last printed, in ms of `performance.now()`. */
  lastPrintMs = performance.now()

  constructor(
    readonly stream: OutputStream,
    env: NodeJS.ProcessEnv = process.env,
  ) {
    this.colours = coloursFor(stream, env)
    this.isLive = stream.isTTY === true && env.TERM !== 'dumb' && !env.CI
    // A reader that went away (`gmem test | head`) ends the output, not the run: its exit code still counts.
    stream.on('error', () => {
      this.#isBroken = true
    })
    if (this.isLive) process.once('exit', () => this.status(''))
  }

  /** Columns that a line may take. */
  get columns(): number {
    return this.stream.columns || DEFAULT_COLUMNS
  }

  /** Prints lines that stay, above the status line. */
  print(lines: string | readonly string[]): void {
    const wanted = typeof lines === 'string' ? [lines] : [...lines]
    if (wanted[0] === '' && this.#endsBlank) wanted.shift()
    if (wanted.length === 0) return
    this.#endsBlank = wanted.at(-1) === ''
    const text = wanted.join('\n')
    const hadStatus = this.#status !== ''
    this.#write(`${hadStatus ? CLEAR_LINE : ''}${text}\n${this.#status}`)
    this.lastPrintMs = performance.now()
  }

  /** Replaces the status line; plain text, cut to the terminal's width. Does nothing where there is no terminal. */
  status(text: string): void {
    if (!this.isLive) return
    const line = text === '' ? '' : this.colours.dim(truncate(text, this.columns - 1))
    if (line === this.#status) return
    const cursor = this.#status === '' ? HIDE_CURSOR : line === '' ? SHOW_CURSOR : ''
    this.#status = line
    this.#write(`${CLEAR_LINE}${cursor}${line}`)
  }

  #write(text: string): void {
    if (!this.#isBroken && !this.stream.destroyed) this.stream.write(text)
  }
}

/** A stream whose lines are printed on the screen. */
export function linesTo(screen: Screen): Writable {
  let rest = ''
  return new Writable({
    write(chunk, _encoding, done) {
      const lines = (rest + String(chunk)).split('\n')
      rest = lines.pop() ?? ''
      const shown = lines.filter((line) => line.trim() !== '')
      if (shown.length > 0) screen.print(shown)
      done()
    },
  })
}
