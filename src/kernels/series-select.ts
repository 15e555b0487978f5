// SPDX-License-Identifier: Apache-2.0
import { usageError } from '../errors.js'

/** What the brackets of a subject say: `[PATCH RFC v3 2/5] KVM: …`. */
export interface Subject {
  /** Without the brackets. */
  readonly title: string
  /** Re:, Fwd: and the like. */
  readonly isReply: boolean
  /** `v3` is [3, 0], `v3.1` [3, 1]; no version is [1, 0]. */
  readonly version: readonly [major: number, minor: number]
  /** 2 of 2/5. */
  readonly number: number | null
  /** 5 of 2/5. */
  readonly total: number | null
}

/** A mail, or a file, as far as it matters whether and where it belongs to the series. */
export interface Candidate {
  readonly subject: Subject
  readonly hasDiff: boolean
  /** For messages. */
  readonly origin: string
}

export interface Selection<T> {
  /** In the order in which they are applied. */
  readonly patches: readonly T[]
  /** What holds a diff and is left out, each with the reason. */
  readonly leftOut: readonly string[]
}

export function parseSubject(text: string): Subject {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  const isReply = /^(?:(?:re|fwd?|aw|wg|sv)\s*(?:\[\d+\])?:\s*)/i.test(line)
  const tags = /^((?:\[[^\]]*\]\s*)*)(.*)$/.exec(isReply ? line.replace(/^[^:]*:\s*/, '') : line)
  const brackets = tags?.[1] ?? ''
  const version = /\bv(\d+)(?:\.(\d+))?\b/i.exec(brackets)
  const place = /\b(\d+)\/(\d+)\b/.exec(brackets)
  return {
    title: tags?.[2]?.trim() ?? line,
    isReply,
    version: [Number(version?.[1] ?? 1), Number(version?.[2] ?? 0)],
    number: place ? Number(place[1]) : null,
    total: place ? Number(place[2]) : null,
  }
}

/**
 * The patches of a series among what a mailbox or a folder holds: the newest version, in the order of its numbers; cover letters,
 * replies and older versions are left out, and of a number sent again the newest is taken. Where nothing is numbered, every diff that
 * is no reply, as it comes. Throws a usage error where a number is missing, or two series are mixed.
 */
export function selectPatches<T extends Candidate>(mails: readonly T[], origin: string): Selection<T> {
  const diffs = mails.filter(({ hasDiff }) => hasDiff)
  const posted = diffs.filter(({ subject }) => !subject.isReply)
  const leftOut = diffs.filter(({ subject }) => subject.isReply).map((mail) => `${mail.origin}: a reply`)
  if (posted.length === 0) throw usageError(`${origin} holds no patch`)
  const numbered = posted.filter(({ subject }) => subject.number !== null)
  if (numbered.length === 0) return { patches: posted, leftOut }

  for (const mail of posted) if (mail.subject.number === null) leftOut.push(`${mail.origin}: has no number`)
  const newest = Math.max(...numbered.map(({ subject }) => subject.version[0]))
  const current: T[] = []
  for (const mail of numbered) {
    if (mail.subject.version[0] === newest) current.push(mail)
    else leftOut.push(`${mail.origin}: an older version`)
  }
  const totals = [...new Set(current.map(({ subject }) => subject.total))]
  if (totals.length > 1)
    throw usageError(`${origin} holds more than one series: of ${totals.join(' and of ')}`)
  return { patches: inOrder(current, totals[0] ?? 0, origin, leftOut), leftOut }
}

function inOrder<T extends Candidate>(
  mails: readonly T[],
  total: number,
  origin: string,
  leftOut: string[],
): T[] {
  const chosen = new Map<number, T>()
  for (const mail of mails) {
    const number = mail.subject.number ?? 0
    const rival = chosen.get(number)
    const isNewer = !rival || mail.subject.version[1] >= rival.subject.version[1]
    if (isNewer) chosen.set(number, mail)
    const loser = isNewer ? rival : mail
    if (loser) leftOut.push(`${loser.origin}: sent again`)
  }
  const numbers = Array.from({ length: total }, (_, index) => index + 1)
  const missing = numbers.filter((number) => !chosen.has(number))
  if (missing.length > 0) {
    const names = missing.map((number) => `${number}/${total}`).join(', ')
    throw usageError(`${origin} lacks ${missing.length === 1 ? 'patch' : 'patches'} ${names}`)
  }
  return [...chosen].sort(([a], [b]) => a - b).map(([, mail]) => mail)
}
