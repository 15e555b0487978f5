// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { changedFunctions } from '../kernels/c-functions.js'
import type { ChangedFunctions } from './watch-stages.js'

/** Where functions are that tests are known to run (the gcov flavour counts them), in a kernel tree. */
const COUNTED_FOLDERS = ['virt/kvm', 'arch/x86/kvm/mmu'] as const

/** What the C files of KVM hold, and held when a verdict was given on them. */
export class JudgedSources {
  #judged: ReadonlyMap<string, string>
  #now: ReadonlyMap<string, string>
  readonly #saved = new Set<string>()

  constructor(readonly tree: string) {
    this.#judged = readTexts(tree)
    this.#now = this.#judged
  }

  /** These were saved, anywhere: reads the files anew. */
  note(saved: readonly string[]): void {
    for (const path of saved) this.#saved.add(path)
    this.#now = readTexts(this.tree)
  }

  /** Which functions differ from what the last verdict was given on; null where more than bodies of such functions may. */
  changes(): ChangedFunctions | null {
    const changed = new Map<string, readonly string[]>()
    for (const path of this.#saved) {
      const [before, now] = [this.#judged.get(path), this.#now.get(path)]
      const functions = before === undefined || now === undefined ? null : changedFunctions(before, now)
      if (functions === null) return null
      if (functions.length > 0) changed.set(path, functions)
    }
    return changed.size === 0 ? null : changed
  }

  /** A verdict was given on what the last note() found. */
  judged(): void {
    this.#judged = this.#now
    this.#saved.clear()
  }
}

function readTexts(tree: string): ReadonlyMap<string, string> {
  const texts = new Map<string, string>()
  for (const folder of COUNTED_FOLDERS) {
    for (const name of namesIn(join(tree, folder))) {
      const text = name.endsWith('.c') ? readText(join(tree, folder, name)) : null
      if (text !== null) texts.set(`${folder}/${name}`, text)
    }
  }
  return texts
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function readText(file: string): string | null {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return null
  }
}
