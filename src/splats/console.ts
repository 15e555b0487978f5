// SPDX-License-Identifier: Apache-2.0
import { StringDecoder } from 'node:string_decoder'
import { foldSplats, SplatDetector } from './detect.js'
import { parseConsoleLine } from './kmsg.js'
import type { LogLine, Splat } from './types.js'
import type { WatchedTest } from './watch.js'

/** A console that never ends its line must not fill the memory. */
const LINE_CHARS_MAX = 16_384
const LAST_LINES = 60

const START = /^gmem: test start (\S+) ?(.*)$/
const END = /^gmem: test end (\S*)/
const BOOT = /^Linux version /

export interface ConsoleScannerOptions {
  /** The VM was restored, so that its console does not show a boot: one that it does show is a reboot. */
  readonly restored?: boolean
  /** How many of the last lines are kept. Default 60. */
  readonly lastLines?: number
}

/**
 * Reads a console as it comes, in pieces of any size: the only witness where a VM died. Memory stays bounded
 * whatever is printed.
 */
export class ConsoleScanner {
  readonly #decoder = new StringDecoder('utf8')
  readonly #detector = new SplatDetector()
  readonly #keep: number
  #splats: Splat[] = []
  #lines: string[] = []
  #rest = ''
  #count = 0
  #booted: boolean
  #running: WatchedTest | null = null
  #last: WatchedTest | null = null

  constructor(options: ConsoleScannerOptions = {}) {
    this.#booted = options.restored === true
    this.#keep = options.lastLines ?? LAST_LINES
  }

  push(chunk: Buffer | string): void {
    const lines = (this.#rest + (typeof chunk === 'string' ? chunk : this.#decoder.write(chunk))).split('\n')
    this.#rest = (lines.pop() ?? '').slice(0, LINE_CHARS_MAX)
    for (const line of lines) this.#line(line)
  }

  /**
   * What was found so far, each fingerprint once; a report that is being printed is left out until `finish`.
   */
  get splats(): readonly Splat[] {
    this.#splats = foldSplats([...this.#splats, ...this.#detector.take()])
    return this.#splats
  }

  /** Nothing more comes: an unfinished line and an unfinished report count as they are. */
  finish(): readonly Splat[] {
    if (this.#rest !== '') this.#line(this.#rest)
    this.#rest = ''
    this.#splats = foldSplats([...this.#splats, ...this.#detector.flush()])
    return this.#splats
  }

  /** The test whose start was marked and whose end was not. */
  get runningTest(): WatchedTest | null {
    return this.#running
  }

  /** The test that was marked last, ended or not. */
  get lastTest(): WatchedTest | null {
    return this.#last
  }

  /** The last lines as they were printed, oldest first. */
  get lastLines(): readonly string[] {
    return this.#lines.slice(-this.#keep)
  }

  #line(raw: string): void {
    const text = raw.endsWith('\r') ? raw.slice(0, -1) : raw
    this.#lines.push(text)
    if (this.#lines.length > this.#keep * 4) this.#lines = this.#lines.slice(-this.#keep)
    const line = parseConsoleLine(text, this.#count)
    this.#count += 1
    if (line === null) return
    this.#mark(line.text)
    if (BOOT.test(line.text)) this.#boot(line)
    else this.#detector.push(line)
    // Whoever asks rarely must not let thousands of the same report pile up.
    if (this.#count % 4096 === 0) this.#splats = foldSplats([...this.#splats, ...this.#detector.take()])
  }

  #mark(text: string): void {
    const [, id, name = ''] = START.exec(text) ?? []
    if (id !== undefined) {
      this.#running = { id, name }
      this.#last = this.#running
    } else if (END.test(text)) this.#running = null
  }

  #boot(line: LogLine): void {
    if (this.#booted) {
      this.#splats = [...this.#splats, ...this.#detector.flush(), rebootSplat(line)]
    }
    this.#booted = true
  }
}

function rebootSplat(line: LogLine): Splat {
  return {
    kind: 'reboot',
    title: 'the kernel started again: a reset that nobody asked for',
    fingerprint: 'reboot',
    task: null,
    cpu: null,
    function: null,
    fileLine: null,
    text: line.text,
    firstSeq: line.seq,
    lastSeq: line.seq,
    count: 1,
    fatal: true,
  }
}
