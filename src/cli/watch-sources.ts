// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { changedFunctions } from '../kernels/c-functions.js'
import { COUNTED_FOLDERS } from '../kernels/counted.js'
import type { ChangedFunctions } from './watch-stages.js'

/** What the C files held of which functions are counted when a verdict was given on them, and hold since. */
export class JudgedSources {
  readonly #judged: Map<string, string>
  /** What was saved since: null where nothing can be read. */
  readonly #saved = new Map<string, string | null>()

  constructor(readonly tree: string) {
    this.#judged = readTexts(tree)
  }

  /** These were saved, anywhere: reads them. */
  note(saved: readonly string[]): void {
    for (const path of saved) this.#saved.set(path, readText(join(this.tree, path)))
  }

  /** Which functions differ from what the last verdict was given on; null where more than bodies of such functions may. */
  changes(): ChangedFunctions | null {
    const changed = new Map<string, readonly string[]>()
    for (const [path, now] of this.#saved) {
      const before = this.#judged.get(path)
      const functions = before === undefined || now === null ? null : changedFunctions(before, now)
      if (functions === null) return null
      if (functions.length > 0) changed.set(path, functions)
    }
    return changed.size === 0 ? null : changed
  }

  /** A verdict was given on what note() found. */
  judged(): void {
    for (const [path, text] of this.#saved) {
      if (text === null) this.#judged.delete(path)
      else this.#judged.set(path, text)
    }
    this.#saved.clear()
  }
}

function readTexts(tree: string): Map<string, string> {
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
