// SPDX-License-Identifier: Apache-2.0
import type { Splat } from './types.js'

/** A splat that is known and may pass. */
export interface AllowEntry {
  /** A fingerprint, or the start of one up to a `:`; null where `title` decides. */
  readonly fingerprint: string | null
  readonly title: RegExp | null
  readonly reason: string
  readonly link: string | null
  /** Globs (`7.3.*`) over the kernel release; empty: every kernel. */
  readonly kernels: readonly string[]
  /** Where it stands, from 1. */
  readonly line: number
}

/** What is wrong with an allow file, and where. */
export class AllowFileError extends Error {
  override readonly name = 'AllowFileError'

  constructor(
    readonly file: string,
    readonly line: number,
    problem: string,
  ) {
    super(`${file}:${line}: ${problem}`)
  }
}

interface Draft {
  readonly line: number
  readonly matcher: Pick<AllowEntry, 'fingerprint' | 'title'>
  readonly fields: Map<string, string>
}

const FIELDS = ['reason', 'link', 'kernels']

/**
 * Reads an allow file. An entry is a fingerprint or a `/regular expression/` over titles at the start of a
 * line, and below it, indented, `reason: …` (which it must have), `link: …` and `kernels: 7.3.*, 6.18.*`. `#`
 * starts a comment line. Throws AllowFileError, which names file and line, for anything else.
 */
export function parseAllowFile(text: string, file: string): AllowEntry[] {
  const drafts: Draft[] = []
  for (const [index, raw] of text.split('\n').entries()) {
    const content = raw.trim()
    if (content === '' || content.startsWith('#')) continue
    if (/^\s/.test(raw)) addField(drafts.at(-1), content, file, index + 1)
    else drafts.push({ line: index + 1, matcher: parseMatcher(content, file, index + 1), fields: new Map() })
  }
  return drafts.map((draft) => finish(draft, file))
}

function parseMatcher(
  content: string,
  file: string,
  line: number,
): Pick<AllowEntry, 'fingerprint' | 'title'> {
  if (!content.startsWith('/')) return { fingerprint: content, title: null }
  if (content.length < 3 || !content.endsWith('/'))
    throw new AllowFileError(file, line, 'a title is given as /regular expression/')
  try {
    return { fingerprint: null, title: new RegExp(content.slice(1, -1)) }
  } catch (error) {
    throw new AllowFileError(file, line, error instanceof Error ? error.message : String(error))
  }
}

function addField(draft: Draft | undefined, content: string, file: string, line: number): void {
  const [, key = '', value = ''] = /^(\w+):\s*(.*)$/.exec(content) ?? []
  if (!FIELDS.includes(key))
    throw new AllowFileError(file, line, `expected one of ${FIELDS.map((field) => `"${field}:"`).join(', ')}`)
  if (draft === undefined)
    throw new AllowFileError(
      file,
      line,
      `"${key}:" belongs under a fingerprint or a /title/, and there is none above it`,
    )
  if (draft.fields.has(key)) throw new AllowFileError(file, line, `"${key}:" is given twice for one entry`)
  draft.fields.set(key, value)
}

function finish({ line, matcher, fields }: Draft, file: string): AllowEntry {
  const reason = fields.get('reason') ?? ''
  if (reason === '')
    throw new AllowFileError(
      file,
      line,
      'this entry has no reason: add an indented line "reason: why it may pass"',
    )
  const kernels = (fields.get('kernels') ?? '').split(',').map((glob) => glob.trim())
  return {
    ...matcher,
    line,
    reason,
    link: fields.get('link') ?? null,
    kernels: kernels.filter((glob) => glob !== ''),
  }
}

/** The first entry that lets `splat` pass on the kernel `release` (`uname -r`), or null. */
export function findAllowed(
  entries: readonly AllowEntry[],
  splat: Splat,
  release: string,
): AllowEntry | null {
  return entries.find((entry) => coversKernel(entry, release) && covers(entry, splat)) ?? null
}

function covers({ fingerprint, title }: AllowEntry, splat: Splat): boolean {
  if (title !== null) return title.test(splat.title)
  return (
    fingerprint !== null &&
    (splat.fingerprint === fingerprint || splat.fingerprint.startsWith(`${fingerprint}:`))
  )
}

function coversKernel({ kernels }: AllowEntry, release: string): boolean {
  return kernels.length === 0 || kernels.some((glob) => globToRegex(glob).test(release))
}

function globToRegex(glob: string): RegExp {
  return new RegExp(
    `^${glob
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replace(/\*/g, '.*')
      .replace(/\?/g, '.')}$`,
  )
}
