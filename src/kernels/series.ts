// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { GmemError, usageError } from '../errors.js'
import { git } from './git.js'
import { touchedPaths } from './patches.js'

import { type Candidate, parseSubject, selectPatches } from './series-select.js'

/** A patch of a series, taken out of its mail. */
export interface SeriesPatch {
  /** From 1. */
  readonly number: number
  /** Without `[PATCH 2/5]`. */
  readonly title: string
  /** `Name <address>`, '' where it does not say. */
  readonly author: string
  /** Where it comes from, for messages: a file, a mail in one, or a commit. */
  readonly origin: string
  /** Absolute path of a file with nothing but the diff in it. */
  readonly file: string
  /** Leading folders to strip, patch's -p. */
  readonly strip: number
  /** Paths in the source tree that it reads or writes. */
  readonly touches: readonly string[]
}

export interface Series {
  readonly patches: readonly SeriesPatch[]
  /** Diffs that do not belong to it, each with the reason. */
  readonly leftOut: readonly string[]
}

interface Part extends Candidate {
  readonly author: string
  readonly diff: string
  readonly strip: number
}

/** What a file in a folder of patches is called. */
const PATCH_NAME = /\.(patch|diff|eml|mbox|mbx)(\.gz)?$/

/**
 * Reads a series from an mbox (`b4 am`, `git format-patch --stdout`; gzipped too), a folder of patches or mails, or a quilt series.
 * Mails are taken apart by git itself (mailsplit, mailinfo): encodings, scissors and in-body headers are as `git am` knows them. Files
 * that it makes are below `work`. Unusable input is a usage error.
 */
export async function readSeries(input: string, work: string, signal?: AbortSignal): Promise<Series> {
  const path = resolve(input)
  if (!existsSync(path))
    throw usageError(`the series ${input} is neither a file, nor a folder, nor a range of commits`)
  const isFolder = statSync(path).isDirectory()
  if (isFolder && existsSync(join(path, 'series'))) return await readQuilt(path, work, signal)
  const files = isFolder ? patchesIn(path) : [path]
  const parts: Part[] = []
  for (const [index, file] of files.entries()) {
    parts.push(...(await readMails(file, join(work, `mails-${index + 1}`), 1, signal)))
  }
  const { patches, leftOut } = selectPatches(parts, input)
  return { patches: patches.map(seriesPatch), leftOut }
}

/** Reads a range of commits (`v7.3..topic`) of a git tree as a series. Merges are a usage error: they have no diff of their own. */
export async function readRange(
  range: string,
  tree: string,
  work: string,
  signal?: AbortSignal,
): Promise<Series> {
  const inTree = (...args: string[]): Promise<string> => git(tree, args, { signal })
  const merges = await inTree('rev-list', '--merges', range, '--').catch((error: unknown) => {
    if (signal?.aborted) throw error
    throw usageError(`${tree} has no commits ${range}`)
  })
  if (merges !== '') {
    throw usageError(
      `${range} holds merges, which are no patches`,
      'gmem bisect goes through such a history.',
    )
  }
  const mbox = join(work, 'range.mbox')
  await mkdir(work, { recursive: true })
  const options = [
    '--stdout',
    '--no-signature',
    '--no-renames',
    '--full-index',
    '--no-thread',
    '--no-cover-letter',
  ]
  writeFileSync(
    mbox,
    `${await inTree('format-patch', ...options, '--subject-prefix=PATCH', '--numbered', range, '--')}\n`,
  )
  return await readSeries(mbox, join(work, 'range'), signal)
}

async function readQuilt(folder: string, work: string, signal?: AbortSignal): Promise<Series> {
  const parts: Part[] = []
  const lines = readFileSync(join(folder, 'series'), 'utf8').split('\n')
  for (const [index, line] of lines.entries()) {
    const [name, ...options] = line
      .replace(/(^|\s)#.*$/, '')
      .trim()
      .split(/\s+/)
    if (!name) continue
    const strip = /^-p(\d+)$/.exec(options[0] ?? '-p1')?.[1]
    const file = join(folder, name)
    if (strip === undefined)
      throw usageError(`${folder}/series:${index + 1}: unknown option ${options.join(' ')}`)
    if (!existsSync(file)) throw usageError(`${folder}/series:${index + 1}: there is no ${file}`)
    const [part] = await readMails(file, join(work, `quilt-${index + 1}`), Number(strip), signal)
    if (!part?.diff) throw usageError(`${file} holds no diff`)
    parts.push(part)
  }
  if (parts.length === 0) throw usageError(`${folder}/series names no patch`)
  return { patches: parts.map(seriesPatch), leftOut: [] }
}

function patchesIn(folder: string): string[] {
  const names = readdirSync(folder).filter((name) => PATCH_NAME.test(name))
  if (names.length === 0)
    throw usageError(`${folder} holds no *.patch, *.mbox or the like, and no quilt series`)
  return names.sort().map((name) => join(folder, name))
}

/** The mails of an mbox; a file without any mail header is one part named after the file. */
async function readMails(file: string, work: string, strip: number, signal?: AbortSignal): Promise<Part[]> {
  await mkdir(work, { recursive: true })
  const content = readFileSync(file)
  const mbox = join(work, 'mbox')
  writeFileSync(mbox, content[0] === 0x1f && content[1] === 0x8b ? gunzipSync(content) : content)
  // -b: a file that does not start as a mailbox does is one mail.
  await git(work, ['mailsplit', '-b', `-o${work}`, mbox], { signal })
  const mails = readdirSync(work).filter((name) => /^\d+$/.test(name))
  const parts: Part[] = []
  for (const mail of mails.sort()) {
    const origin = mails.length > 1 ? `${basename(file)}, mail ${Number(mail)}` : basename(file)
    parts.push(await readMail(join(work, mail), origin, strip, signal))
  }
  return parts
}

async function readMail(mail: string, origin: string, strip: number, signal?: AbortSignal): Promise<Part> {
  const [message, diff] = [`${mail}.message`, `${mail}.diff`]
  const options = ['-k', '--scissors', '--encoding=UTF-8', '--quoted-cr=strip']
  const input = readFileSync(mail)
  const info = await git(dirname(mail), ['mailinfo', ...options, message, diff], { input, signal }).catch(
    (error: unknown) => {
      if (signal?.aborted) throw error
      throw usageError(
        `${origin} cannot be read as a mail: ${error instanceof GmemError ? error.message : error}`,
      )
    },
  )
  const field = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(info)?.[1] ?? ''
  const address = field('Email')
  const text = readFileSync(diff, 'utf8')
  return {
    subject: parseSubject(field('Subject') || origin),
    author: address === '' ? '' : `${field('Author')} <${address}>`,
    hasDiff: touchedPaths(text, origin).length > 0,
    origin: field('Subject') === '' ? origin : `${origin} "${field('Subject')}"`,
    diff,
    strip,
  }
}

function seriesPatch(part: Part, index: number): SeriesPatch {
  const { author, origin, diff: file, strip, subject } = part
  const text = readFileSync(file, 'utf8')
  const touches = strip === 1 ? touchedPaths(text, origin) : touchedPaths(withPrefix(text, strip), origin)
  return { number: index + 1, title: subject.title, author, origin, file, strip, touches }
}

/** The headers of a diff as they are with -p1. */
function withPrefix(diff: string, strip: number): string {
  const folders = new RegExp(`^(--- |\\+\\+\\+ )(?!/dev/null)(?:[^/\\s]+/){${strip}}`, 'gm')
  return diff.replace(folders, (_, mark: string) => `${mark}${mark === '--- ' ? 'a/' : 'b/'}`)
}
