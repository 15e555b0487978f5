// SPDX-License-Identifier: Apache-2.0
import type { ModuleAnswer, ModuleQuestion } from '../protocol.js'

/** Answers that the host has sent before vitest asks (src/pool/modules-ahead.ts). */
export class ModuleAnswers {
  readonly #known = new Map<string, unknown>()

  /** What an earlier run was told may have changed. */
  clear(): void {
    this.#known.clear()
  }

  add({ method, url, environment, value }: ModuleAnswer): void {
    this.#known.set(keyOf(method, url, environment), value)
  }

  /** The answer to what vitest is about to ask the host, as the host would send it; null where it must be asked. */
  take(message: unknown): object | null {
    const { t, i, m, a } = message as Partial<ModuleQuestion>
    if (t !== 'q' || (m !== 'resolve' && m !== 'fetch') || a === undefined) return null
    const key = keyOf(m, a[0], a[2])
    const value = this.#known.get(key)
    if (value === undefined) return null
    this.#known.delete(key)
    return { t: 's', i, r: value }
  }
}

function keyOf(method: unknown, url: unknown, environment: unknown): string {
  return `${method} ${environment} ${url}`
}
