// SPDX-License-Identifier: Apache-2.0
import { EventEmitter } from 'node:events'
import { describe, expect, test } from 'vitest'
import type { WorkerRequest } from 'vitest/node'
import { ModuleAnswers } from '../../src/pool/guest/modules-ahead.js'
import { ModulesAhead, slim } from '../../src/pool/modules-ahead.js'
import type { Session } from '../../src/pool/session.js'

const FILE = '/root/tests/a.test.ts'
const URL = '/tests/a.test.ts'
const SUPPORT = '/tests/support.ts'

/** What vitest would answer, by question. */
const ANSWERS: Readonly<Record<string, object | null>> = {
  [`resolve ${FILE}`]: { id: FILE, file: FILE, url: URL },
  [`fetch ${URL}`]: {
    id: FILE,
    code: `const a = await __vite_ssr_import__("${SUPPORT}", {}); const b = await __vite_ssr_import__("/dist/kvm.js"); await __vite_ssr_dynamic_import__("/later.ts")`,
  },
  // Imports that go round end.
  [`fetch ${SUPPORT}`]: { id: `/root${SUPPORT}`, code: `await __vite_ssr_import__("${URL}")` },
  'fetch /dist/kvm.js': { externalize: '/root/dist/kvm.js', type: 'module' },
}

interface Asked {
  readonly i: string
  readonly m: string
  readonly a: readonly unknown[]
}

describe('what a test file imports', () => {
  test('is asked for once, from the file on, and given to the VM in that order', () => {
    const { ahead, asked } = askingAhead()
    const { session, given } = vm()
    ahead.attach(session)
    ahead.begin(run())
    const expected = [`resolve ${FILE}`, `fetch ${URL}`, `fetch ${SUPPORT}`, 'fetch /dist/kvm.js']
    expect(asked).toEqual(expected)
    expect(given).toEqual(expected)
  })

  test('is given to a VM that comes later, and to the next one after that', () => {
    const { ahead } = askingAhead()
    ahead.begin(run())
    for (const { session, given } of [vm(), vm()]) {
      ahead.attach(session)
      expect(given).toHaveLength(4)
    }
  })

  test('is not given to a VM that has loaded it for an earlier file', () => {
    const { ahead } = askingAhead()
    const { session, given } = vm()
    session.modules.add(SUPPORT)
    ahead.attach(session)
    ahead.begin(run())
    expect(given).toEqual([`resolve ${FILE}`, `fetch ${URL}`, 'fetch /dist/kvm.js'])
  })

  test('is left to the guest where modules were invalidated', () => {
    const { ahead, asked } = askingAhead()
    ahead.begin(run({ invalidates: [SUPPORT] }))
    expect(asked).toEqual([])
  })

  test('is left to the guest where vitest answers with an error', () => {
    const questions: Asked[] = []
    const ahead = new ModulesAhead((question) => questions.push(question as Asked))
    const { session, given } = vm()
    ahead.attach(session)
    ahead.begin(run())
    expect(ahead.takes({ t: 's', i: questions[0]?.i, e: new Error('no such file') })).toBe(true)
    expect(given).toEqual([])
  })

  test('and nothing else is kept from the guest', () => {
    const { ahead } = askingAhead()
    expect(ahead.takes({ t: 's', i: 'from the guest', r: {} })).toBe(false)
    expect(ahead.takes({ type: 'run', context: {} })).toBe(false)
  })
})

describe('in the guest', () => {
  const question = { t: 'q', i: 'x1', m: 'fetch', a: [URL, undefined, 'ssr', {}] }
  const answer = { method: 'fetch', url: URL, environment: 'ssr', value: { code: '' } } as const

  test('a question that is answered already does not go to the host, once', () => {
    const answers = new ModuleAnswers()
    answers.add(answer)
    expect(answers.take(question)).toEqual({ t: 's', i: 'x1', r: { code: '' } })
    expect(answers.take(question)).toBeNull()
  })

  test('another one does', () => {
    const answers = new ModuleAnswers()
    answers.add(answer)
    expect(answers.take({ ...question, m: 'resolve' })).toBeNull()
    expect(answers.take({ ...question, a: ['/other.ts', undefined, 'ssr'] })).toBeNull()
    expect(answers.take({ ...question, m: 'onCollected', a: [Object.create(null)] })).toBeNull()
    expect(answers.take({ t: 's', i: 'x1', r: {} })).toBeNull()
  })

  test('a new run starts without answers to the last one', () => {
    const answers = new ModuleAnswers()
    answers.add(answer)
    answers.clear()
    expect(answers.take(question)).toBeNull()
  })
})

describe('a source map', () => {
  const encode = (map: object): string => Buffer.from(JSON.stringify(map)).toString('base64')
  const code = (map: object): string =>
    `code\n//# sourceMappingSource=vite-generated\n//# sourceMappingURL=data:application/json;base64,${encode(map)}\n`

  test('loses the copies of its sources, and nothing else', () => {
    const map = { version: 3, mappings: 'AAAA', sources: ['a.ts'], names: [] }
    expect(slim({ id: 'a', code: code({ ...map, sourcesContent: ['text'] }) })).toEqual({
      id: 'a',
      code: code(map),
    })
  })

  test('that is not there changes nothing', () => {
    const value = { id: 'a', code: 'code' }
    expect(slim(value)).toBe(value)
    const external = { externalize: '/a.js', type: 'module' }
    expect(slim(external)).toBe(external)
  })
})

function askingAhead(): { ahead: ModulesAhead; asked: string[] } {
  const asked: string[] = []
  const ahead = new ModulesAhead((question) => {
    const { i, m, a } = question as Asked
    const name = `${m} ${a[0]}`
    asked.push(name)
    ahead.takes({ t: 's', i, r: ANSWERS[name] })
  })
  return { ahead, asked }
}

function vm(): { session: Session; given: string[] } {
  const given: string[] = []
  const send = ({ answer }: { answer: { method: string; url: string } }): void =>
    void given.push(`${answer.method} ${answer.url}`)
  const session = Object.assign(new EventEmitter(), { modules: new Set<string>(), send })
  return { session: session as unknown as Session, given }
}

function run({ invalidates = [] as string[] } = {}): WorkerRequest {
  return { type: 'run', context: { files: [{ filepath: FILE }], invalidates } } as unknown as WorkerRequest
}
