// SPDX-License-Identifier: Apache-2.0
import type { WorkerRequest } from 'vitest/node'
import type { ModuleAnswer, ModuleQuestion } from './protocol.js'
import type { Session } from './session.js'

/** The answer to a ModuleQuestion, as vitest gives it. */
interface Answer {
  readonly t: 's'
  readonly i: string
  readonly r?: unknown
  readonly e?: unknown
}

const OWN_ID = 'gmem-ahead-'
const ENVIRONMENT = 'ssr'
/** Imports of a transformed module that are loaded before it runs. */
const STATIC_IMPORT = /__vite_ssr_import__\("(\/[^"]+)"/g

/**
 * Asks vitest for the modules of a test file before the guest does, and gives it the answers: in an emulated guest each of a dozen
 * questions takes as long as a test. The guest asks for itself whatever is not there yet, so nothing depends on this.
 */
export class ModulesAhead {
  readonly #answers: ModuleAnswer[] = []
  readonly #pending = new Map<string, ModuleQuestion>()
  readonly #urls = new Set<string>()
  #session: Session | null = null

  /** `ask` passes a question to vitest; its answer comes to `takes`. */
  constructor(readonly ask: (question: unknown) => void) {}

  /** Starts asking for the files of a run. Not where modules were invalidated (--watch): the guest knows which it still has. */
  begin(run: WorkerRequest): void {
    if (run.type !== 'run' || (run.context.invalidates?.length ?? 0) > 0) return
    for (const { filepath } of run.context.files) this.#question('resolve', filepath, undefined)
  }

  /** Gives all answers to this VM from now on; null: to none. */
  attach(session: Session | null): void {
    this.#session = session
    for (const answer of this.#answers) this.#give(answer)
  }

  /** Whether a message for the guest is the answer to a question of ours, and so not for the guest. */
  takes(message: unknown): boolean {
    const { t, i, r, e } = message as Partial<Answer>
    if (t !== 's' || i === undefined || !i.startsWith(OWN_ID)) return false
    const question = this.#pending.get(i)
    this.#pending.delete(i)
    // An error is the guest's to meet.
    if (question && e === undefined && r !== null && r !== undefined) this.#answered(question, r)
    return true
  }

  #question(method: ModuleAnswer['method'], url: string, importer: string | undefined): void {
    const options = method === 'fetch' ? [{ cached: false }] : []
    const question: ModuleQuestion = {
      t: 'q',
      // Each is asked once.
      i: `${OWN_ID}${method} ${url}`,
      m: method,
      a: [url, importer, ENVIRONMENT, ...options],
    }
    this.#pending.set(question.i, question)
    this.ask(question)
  }

  #answered({ m: method, a }: ModuleQuestion, value: object): void {
    const answer: ModuleAnswer = { method, url: String(a[0]), environment: ENVIRONMENT, value: slim(value) }
    this.#answers.push(answer)
    this.#give(answer)
    if (method === 'resolve' && 'url' in value) this.#fetch(String(value.url), undefined)
    if ('code' in value && 'id' in value) {
      for (const [, url = ''] of String(value.code).matchAll(STATIC_IMPORT))
        this.#fetch(url, String(value.id))
    }
  }

  #fetch(url: string, importer: string | undefined): void {
    if (this.#urls.has(url)) return
    this.#urls.add(url)
    this.#question('fetch', url, importer)
  }

  /** A module that a VM was given is loaded there, and not asked for again. */
  #give(answer: ModuleAnswer): void {
    if (this.#session === null || this.#session.modules.has(answer.url)) return
    if (answer.method === 'fetch') this.#session.modules.add(answer.url)
    this.#session.send({ type: 'ahead', answer })
  }
}

const SOURCE_MAP = /\/\/# sourceMappingURL=data:application\/json;base64,([\w+/=]+)\s*$/

/** A module without the copies of its sources in its source map: half of it, and in the guest nobody reads them. */
export function slim<T extends object>(value: T): T {
  if (!('code' in value) || typeof value.code !== 'string') return value
  const encoded = SOURCE_MAP.exec(value.code)?.[1]
  if (encoded === undefined) return value
  const { sourcesContent: _sources, ...map } = JSON.parse(Buffer.from(encoded, 'base64').toString())
  const slimmed = Buffer.from(JSON.stringify(map)).toString('base64')
  return { ...value, code: value.code.replace(encoded, slimmed) }
}
