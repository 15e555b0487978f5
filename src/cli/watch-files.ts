// SPDX-License-Identifier: Apache-2.0
import { existsSync, type FSWatcher, readdirSync, statSync, watch } from 'node:fs'
import { join, relative } from 'node:path'

/** Where what the contract tests comes from, in a kernel tree. */
const TREE_FOLDERS = ['virt/kvm', 'arch/x86/kvm', 'arch/x86/include', 'include', 'mm'] as const
const SOURCE = /\.(c|h|S)$|(^|\/)(Makefile|Kconfig)$/
const TEST = /\.ts$/
/** An editor writes a file several times, or several files at once. */
const QUIET_MS = 200

/** What is watched: a folder, and which of its files. */
interface Watched {
  readonly folder: string
  readonly pattern: RegExp
}

/** The folders to watch of a kernel tree, and of the tests. */
export function watchedFolders(tree: string, tests: string): Watched[] {
  return [
    ...TREE_FOLDERS.map((folder) => ({ folder: join(tree, folder), pattern: SOURCE })),
    { folder: tests, pattern: TEST },
  ].filter(({ folder }) => existsSync(folder))
}

/** Says which files were saved: those of a burst together, by their paths from `root` on. */
export class SavedFiles {
  readonly #watchers = new Map<string, FSWatcher>()
  readonly #saved = new Set<string>()
  #timer: NodeJS.Timeout | null = null

  constructor(
    folders: readonly Watched[],
    readonly root: string,
    readonly onSaved: (files: readonly string[]) => void,
  ) {
    for (const watched of folders) this.#watchBelow(watched)
  }

  close(): void {
    for (const watcher of this.#watchers.values()) watcher.close()
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  // Not `recursive`: Node 20 then watches files, and loses one that an editor saves by renaming another one over it.
  #watchBelow({ folder, pattern }: Watched): void {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
    const below = entries.filter((entry) => entry.isDirectory())
    for (const path of [folder, ...below.map((entry) => join(entry.parentPath, entry.name))])
      this.#watch(path, pattern)
  }

  /** Where it is a folder. git makes and removes some in no time: what is gone again needs no watch. */
  #watchNew(path: string, pattern: RegExp): void {
    try {
      if (statSync(path).isDirectory()) this.#watchBelow({ folder: path, pattern })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }

  #watch(folder: string, pattern: RegExp): void {
    this.#watchers.get(folder)?.close()
    const watcher = watch(folder, (event, name) => {
      if (name === null) return
      const path = join(folder, name)
      if (pattern.test(name)) this.#note(path)
      else if (event === 'rename') this.#watchNew(path, pattern)
    })
    // The folder went.
    watcher.on('error', () => watcher.close())
    this.#watchers.set(folder, watcher)
  }

  #note(file: string): void {
    const path = relative(this.root, file)
    this.#saved.add(path.startsWith('..') ? file : path)
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      const files = [...this.#saved].sort()
      this.#saved.clear()
      this.onSaved(files)
    }, QUIET_MS)
  }
}
