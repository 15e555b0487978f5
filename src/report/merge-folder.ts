// SPDX-License-Identifier: Apache-2.0
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, extname, join, resolve } from 'node:path'
import { GmemError, usageError } from '../errors.js'
import { writeResult } from './artefacts.js'
import { consoleEnding } from './console-names.js'
import { type MatchedTarget, matchTargets, mergeNotes, mergeRuns } from './merge.js'
import type { MergePart } from './merge-parts.js'
import { checkParts } from './merge-shards.js'
import type { RunResult } from './schema.js'
import { groupBy } from './values.js'

/** A whole run, made of parts. */
export interface Merged {
  readonly run: RunResult
  /** What asks for all that its parts were asked for. */
  readonly request: Readonly<Record<string, unknown>>
  /** What a reader should know beside it. */
  readonly notes: readonly string[]
}

/** A file of a part, and where it goes. */
interface Move {
  readonly part: MergePart
  readonly from: string
  readonly to: string
}

/**
 * Merges the parts into `directory`, which is then as a folder that `gmem test -o` wrote: result.json, environment.json, consoles and
 * kernel configurations. Throws a usage error, and writes nothing, where the parts do not make whole runs or the folder is not empty.
 */
export async function mergeInto(directory: string, parts: readonly MergePart[]): Promise<Merged> {
  const folder = resolve(directory)
  checkParts(parts)
  const matched = matchTargets(parts)
  const moves = await planMoves(parts, matched, folder)
  const moved = parts.map((part) => ({ ...part, run: relocated(part, moves) }))
  const run = mergeRuns(moved, matchTargets(moved), folder)
  const request = mergedRequest(parts, run)
  await makeEmpty(folder, directory)
  try {
    for (const { from, to } of moves) await copyFile(from, to)
    await writeEnvironment(folder, parts, request, moves)
    await writeResult(folder, run)
    return { run, request, notes: mergeNotes(matched) }
  } catch (cause) {
    // It was empty before.
    for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true, force: true })
    throw new GmemError(`the merged result was not written to ${directory}: ${String(cause)}`, { cause })
  }
}

async function makeEmpty(folder: string, given: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true })
  } catch (error) {
    throw usageError(`-o ${given}: the folder cannot be made: ${(error as NodeJS.ErrnoException).code}`)
  }
  if ((await readdir(folder)).length > 0) {
    throw usageError(`-o ${given}: the folder is not empty`, 'Name a new one: nothing is overwritten.')
  }
}

/** Consoles are numbered anew, for each target; a configuration that several parts have is kept once. */
async function planMoves(
  parts: readonly MergePart[],
  matched: readonly MatchedTarget[],
  folder: string,
): Promise<Move[]> {
  const moves: Move[] = []
  const taken = new Map<string, string>()
  for (const part of parts) {
    for (const name of (await readdir(part.folder)).sort(byNumber)) {
      const from = join(part.folder, name)
      const wanted = consoleName(name, part, matched) ?? (name.endsWith('.config') ? name : null)
      if (wanted === null) continue
      const free = await freeName(wanted, from, taken)
      taken.set(free, from)
      moves.push({ part, from, to: join(folder, free) })
    }
  }
  return moves
}

/** `console-7.3-12.log` with the target's id in the merged result, or null where it is no console. */
function consoleName(name: string, part: MergePart, matched: readonly MatchedTarget[]): string | null {
  for (const { id, members } of matched) {
    const own = members.find((member) => member.part === part)
    const ending = own ? consoleEnding(name, own.target.id) : null
    if (ending !== null) return `console-${id}-${ending}`
  }
  return null
}

/** The name itself where no other file has it, or one with the same content; else with the next free number at its end. */
async function freeName(wanted: string, from: string, taken: ReadonlyMap<string, string>): Promise<string> {
  const extension = extname(wanted)
  const stem = wanted.slice(0, -extension.length).replace(extension === '.log' ? /-\d+$/ : '', '')
  for (let name = wanted, number = 2; ; name = `${stem}-${number++}${extension}`) {
    const other = taken.get(name)
    if (other === undefined) return name
    if (extension === '.config' && (await readFile(other)).equals(await readFile(from))) return name
  }
}

/** The result of a part with the paths that its files get, also where an error names one: parts of several machines may have the same ones. */
function relocated({ folder, run }: MergePart, moves: readonly Move[]): RunResult {
  const paths = moves
    .filter(({ part }) => part.folder === folder)
    .map(({ from, to }) => [join(run.artefacts, basename(from)), to] as const)
  const replace = (text: string): string =>
    paths.reduce((current, [before, after]) => current.replaceAll(before, after), text)
  return JSON.parse(JSON.stringify(run), (_, value: unknown) =>
    typeof value === 'string' && value.includes(run.artefacts) ? replace(value) : value,
  ) as RunResult
}

/** As that of the first part, with a request that asks for all that the parts were asked for, and what each part says of itself. */
async function writeEnvironment(
  folder: string,
  parts: readonly MergePart[],
  request: Readonly<Record<string, unknown>>,
  moves: readonly Move[],
): Promise<void> {
  const kernels = parts.flatMap(({ environment }) => environment.kernels)
  const environment = {
    ...parts[0]?.environment,
    cwd: process.cwd(),
    argv: process.argv.slice(2),
    request,
    kernels: [...groupBy(kernels, ({ id, key }) => `${id} ${key}`).values()].map(([kernel]) => kernel),
    parts: parts.map((part) => {
      const { request: _, kernels: __, ...own } = part.environment
      const consoles = moves.filter((move) => move.part === part).map(({ to }) => basename(to))
      return { folder: part.folder, shard: part.run.shard ?? null, files: consoles, ...own }
    }),
  }
  await writeFile(join(folder, 'environment.json'), `${JSON.stringify(environment, null, 2)}\n`)
}

/** What `gmem rerun` would ask for: where the parts differ, all of it. */
function mergedRequest(parts: readonly MergePart[], run: RunResult): Record<string, unknown> {
  const requests = parts.map(({ environment }) => environment.request)
  const lists = (field: string): string[][] =>
    requests.map((request) => request[field]).filter((list): list is string[] => Array.isArray(list))
  const union = (field: string): string[] => [...new Set(lists(field).flat())]
  const areAlike = (field: string): boolean =>
    new Set(requests.map((request) => JSON.stringify(request[field]))).size === 1
  const { shard: _, namePattern, accelerator, ...first } = requests[0] ?? {}
  return {
    ...first,
    kernels: union('kernels'),
    host: requests.some(({ host }) => host === true),
    filters: lists('filters').some((list) => list.length === 0) ? [] : union('filters'),
    ...(areAlike('namePattern') && namePattern !== undefined && { namePattern }),
    accelerator: areAlike('accelerator') ? accelerator : 'auto',
    all: requests.some(({ all }) => all === true),
    failOnSkip: requests.some(({ failOnSkip }) => failOnSkip === true),
    seed: run.seed,
  }
}

/** `console-7.3-2.log` before `console-7.3-10.log`. */
function byNumber(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true })
}
