// SPDX-License-Identifier: Apache-2.0

import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { QmpError } from '../../src/qemu/errors.js'
import { QmpClient, type QmpEvent } from '../../src/qemu/qmp.js'

let folder: string
let qemu: Socket
let client: QmpClient

/** Both ends of a real stream: what is written to `qemu` is what QEMU would say. */
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), `gmem-${process.pid}-qmp-`))
  const path = join(folder, 'socket')
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(path, resolve))
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve))
  client = new QmpClient(connect(path))
  qemu = await accepted
  server.close()
})

afterEach(() => {
  qemu.destroy()
  rmSync(folder, { recursive: true, force: true })
})

const say = (message: unknown): void => void qemu.write(`${JSON.stringify(message)}\r\n`)

/** The next command that arrives. */
async function heard(): Promise<{ execute: string; id: number }> {
  const text = await new Promise<string>((resolve) => qemu.once('data', (chunk) => resolve(String(chunk))))
  return JSON.parse(text)
}

describe('QMP', () => {
  test('nothing is sent before the greeting, then the negotiation', async () => {
    const negotiated = client.negotiate()
    say({ QMP: { version: {}, capabilities: [] } })
    const command = await heard()
    expect(command.execute).toBe('qmp_capabilities')
    say({ return: {}, id: command.id })
    await expect(negotiated).resolves.toBeUndefined()
  })

  test('answers find their commands in any order', async () => {
    const first = client.execute('query-status')
    const one = await heard()
    const second = client.execute('query-migrate')
    const two = await heard()
    say({ return: 'migrate', id: two.id })
    say({ return: 'status', id: one.id })
    expect(await Promise.all([first, second])).toEqual(['status', 'migrate'])
  })

  test('a message may arrive in pieces, and several at once', async () => {
    const events: QmpEvent[] = []
    client.on('event', (event) => events.push(event))
    const answer = client.execute('stop')
    const { id } = await heard()
    const text = `${JSON.stringify({ event: 'STOP' })}\r\n${JSON.stringify({ return: {}, id })}\r\n`
    qemu.write(text.slice(0, 7))
    await new Promise((resolve) => setImmediate(resolve))
    qemu.write(text.slice(7))
    await answer
    expect(events).toEqual([{ event: 'STOP', data: {} }])
    expect(client.events).toEqual(events)
  })

  test("a refusal carries the command and QEMU's class", async () => {
    const answer = client.execute('migrate')
    const { id } = await heard()
    say({ error: { class: 'GenericError', desc: 'no such migration' }, id })
    const error: unknown = await answer.catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(QmpError)
    expect(error).toMatchObject({
      message: 'QEMU refused migrate: no such migration',
      errorClass: 'GenericError',
    })
  })

  test('an answer that never comes is an error, and a late one does no harm', async () => {
    const answer = client.execute('stop', undefined, 20)
    const { id } = await heard()
    await expect(answer).rejects.toThrow('QEMU did not answer stop within 0.02 s')
    say({ return: {}, id })
    const next = client.execute('cont')
    say({ return: 'running', id: (await heard()).id })
    expect(await next).toBe('running')
  })

  test('when QEMU ends, what waits is told, and what comes later too', async () => {
    const answer = client.execute('stop')
    const told = expect(answer).rejects.toThrow('QEMU ended before it answered stop')
    await heard()
    qemu.destroy()
    await told
    await expect(client.execute('cont')).rejects.toThrow('QEMU has ended')
  })
})
