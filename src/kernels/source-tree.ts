// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto'
import { lstatSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GmemError } from '../errors.js'
import type { DebianSource } from './debian.js'
import { run } from './run.js'

/** Where a kernel's source comes from, found out and identified. */
export type Source =
  | { readonly kind: 'debian'; readonly debian: DebianSource }
  | { readonly kind: 'tree'; readonly path: string; readonly listing: SourceListing }

/** The source files of somebody's kernel tree, whatever else (build output, editors' files) lies between them. */
export interface SourceListing {
  /** Relative paths of all files that .gitignore does not exclude. */
  readonly files: readonly string[]
  /** Changes when the content of any source file does. */
  readonly identity: string
  /** Of a git tree with a commit. */
  readonly git?: GitState
}

/** Two states of one tree with the same commit differ in files that are dirty in one of them, and in no others. */
export interface GitState {
  /** The commit's tree object. */
  readonly commit: string
  /** Paths that differ from it, or that it does not have. */
  readonly dirty: readonly string[]
}

/**
 * Lists a source tree. With git: the identity is the commit's tree and the content of what differs from it.
 * Without: sizes and modification times. Nothing is written into the tree, its .git included.
 */
export async function listSourceTree(tree: string, signal?: AbortSignal): Promise<SourceListing> {
  const listing = (await isGitRoot(tree, signal))
    ? await listGitTree(tree, signal)
    : await listPlainTree(tree, signal)
  if (listing.files.includes('Makefile')) return listing
  throw new GmemError(`${tree}: git counts none of it as source (its .gitignore, or one above, excludes it)`)
}

/** The .gitignore of Debian's source packages ignores all of the top folder: that is undone, and build output named. */
const rootExcludes = [
  '!/*',
  '/.*',
  '/*.o',
  '/*.a',
  '/vmlinux*',
  '/System.map',
  '/Module.symvers',
  '/modules.*',
]

const git = (tree: string, args: readonly string[], signal?: AbortSignal): Promise<string> =>
  // safe.directory: reading a tree of another user is all that is done here.
  run('git', ['--no-optional-locks', '-c', 'safe.directory=*', '-C', tree, ...args], { signal })

const splitNul = (text: string): string[] => text.split('\0').filter((path) => path !== '')

async function isGitRoot(tree: string, signal?: AbortSignal): Promise<boolean> {
  const top = await git(tree, ['rev-parse', '--show-toplevel'], signal).catch((error: unknown) => {
    if (signal?.aborted) throw error
    return ''
  })
  return top !== '' && realpathSync(top) === realpathSync(tree)
}

async function listGitTree(tree: string, signal?: AbortSignal): Promise<SourceListing> {
  const [head, status, listing] = await Promise.all([
    git(tree, ['rev-parse', 'HEAD^{tree}'], signal).catch(() => 'no commit'),
    git(tree, ['status', '--porcelain', '-z', '--untracked-files=all', '--no-renames'], signal),
    git(tree, ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], signal),
  ])
  const commit = head.trim()
  const hash = createHash('sha256').update(commit)
  const dirty = splitNul(status).map((entry) => entry.slice(3))
  for (const path of dirty) hash.update(`\0${path}\0`).update(contentOf(join(tree, path)))
  return {
    files: [...new Set(splitNul(listing))],
    identity: `git:${hash.digest('hex')}`,
    ...(commit !== 'no commit' && { git: { commit, dirty } }),
  }
}

async function listPlainTree(tree: string, signal?: AbortSignal): Promise<SourceListing> {
  // An empty repository elsewhere lends its understanding of the tree's own .gitignore files.
  const repository = await mkdtemp(join(tmpdir(), `gmem-${process.pid}-git-`))
  try {
    await run('git', ['init', '--quiet', '--bare', repository], { signal })
    const args = ['--git-dir', repository, '-c', 'core.bare=false', '--work-tree', tree]
    const excludes = rootExcludes.map((pattern) => `--exclude=${pattern}`)
    const listing = await run(
      'git',
      [...args, 'ls-files', '-z', '--others', '--exclude-standard', ...excludes],
      {
        cwd: tree,
        signal,
      },
    )
    const files = splitNul(listing).sort()
    const hash = createHash('sha256')
    for (const path of files) {
      const { size, mtimeMs } = lstatSync(join(tree, path))
      hash.update(`${path}\0${size}\0${mtimeMs}\0`)
    }
    return { files, identity: `files:${hash.digest('hex')}` }
  } finally {
    await rm(repository, { recursive: true, force: true })
  }
}

function contentOf(path: string): Buffer | string {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (stats === undefined) return 'deleted'
  if (stats.isSymbolicLink()) return `link ${readlinkSync(path)}`
  return stats.isFile() ? readFileSync(path) : 'no file'
}
