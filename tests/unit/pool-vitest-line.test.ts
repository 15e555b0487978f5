// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { VitestLine } from '../../src/pool/guest/vitest-line.js'

const LOG = { t: 'q', i: 'log', m: 'onUserConsoleLog', a: [{ content: 'left behind' }] }
const OTHER_LOG = { ...LOG, i: 'other log' }
const RUN = { __vitest_worker_request__: true, type: 'run', context: {} }
const ENDED = { __vitest_worker_response__: true, type: 'testfileFinished' }

describe('vitest in the guest and its host', () => {
  test('a question of a file that runs goes to the host at once, and its answer comes back', () => {
    const { line, sent, heard } = open()
    line.receive(RUN)
    line.post(LOG)
    expect(sent).toEqual([LOG])
    line.receive({ t: 's', i: 'log', r: 1 })
    expect(heard).toEqual([RUN, { t: 's', i: 'log', r: 1 }])
  })

  test('what is asked before the first file waits for it', () => {
    const { line, sent } = open()
    line.post(LOG)
    expect(sent).toEqual([])
    line.receive({ ...RUN, type: 'start' })
    expect(sent).toEqual([LOG])
  })

  test('what is asked between two files waits for the second', () => {
    const { line, sent } = open()
    line.receive(RUN)
    line.post(ENDED)
    line.post(LOG)
    line.post(OTHER_LOG)
    expect(sent).toEqual([ENDED])
    line.receive(RUN)
    expect(sent).toEqual([ENDED, LOG, OTHER_LOG])
  })

  test('a question that has no answer when its file ends gets an empty one', async () => {
    const { line, heard } = open()
    line.receive(RUN)
    line.post(LOG)
    line.post(OTHER_LOG)
    line.receive({ t: 's', i: 'log' })
    heard.length = 0
    line.post(ENDED)
    await Promise.resolve()
    expect(heard).toEqual([{ t: 's', i: 'other log' }])
  })

  test('what is asked for ever between two files is answered, and not kept', async () => {
    const { line, sent, heard } = open()
    for (let number = 0; number < 1_500; number++) line.post({ ...LOG, i: String(number) })
    await Promise.resolve()
    expect(heard).toHaveLength(500)
    line.receive(RUN)
    expect(sent).toHaveLength(1_000)
  })

  test('responses to the host never wait', () => {
    const { line, sent } = open()
    const started = { __vitest_worker_response__: true, type: 'started' }
    line.post(started)
    line.post({ t: 's', i: 'a question of the host' })
    expect(sent).toEqual([started, { t: 's', i: 'a question of the host' }])
  })

  test('a module that is known ahead is not asked for, unless a new run may have changed it', async () => {
    const { line, sent, heard } = open()
    const question = { t: 'q', i: 'a', m: 'fetch', a: ['/a.ts', undefined, 'ssr'] }
    line.receive(RUN)
    line.know({ method: 'fetch', url: '/a.ts', environment: 'ssr', value: { code: '' } })
    line.post(question)
    await Promise.resolve()
    expect(sent).toEqual([])
    expect(heard).toEqual([RUN, { t: 's', i: 'a', r: { code: '' } }])
    line.know({ method: 'fetch', url: '/a.ts', environment: 'ssr', value: { code: '' } })
    line.receive(RUN)
    line.post(question)
    expect(sent).toEqual([question])
  })
})

/** A line whose host writes down what it hears, and whose vitest does the same. */
function open() {
  const sent: unknown[] = []
  const heard: unknown[] = []
  const line = new VitestLine((message) => sent.push(message))
  line.on((message) => heard.push(message))
  return { line, sent, heard }
}
