// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, test } from 'vitest'
import type { NativeMapping } from '../../src/binding/addon.js'
import {
  addon,
  anonymous,
  inChild,
  MAP_SHARED,
  PAGE,
  PROT_NONE,
  PROT_RW,
  Scope,
  thrownBy,
} from './support.js'

const WAIT4 = 61
const WNOHANG = 1
const SEGV_MAPERR = 1
const SEGV_ACCERR = 2
const BUS_ADRERR = 2

const scope = new Scope()
afterEach(() => scope.close())

/** Two pages of a memfd that has only the first one. */
function halfFile(): NativeMapping {
  const fd = addon.memfdCreate('gmem-test', 0)
  scope.use({ close: () => addon.close(fd) })
  addon.ftruncate(fd, PAGE)
  return scope.use(addon.mmap(2n * PAGE, PROT_RW, MAP_SHARED, fd, 0n, 0n))
}

describe('a fault is data for a probe', () => {
  test('SIGBUS BUS_ADRERR beyond the end of a file', () => {
    const mapping = halfFile()
    const address = mapping.address + PAGE

    expect(mapping.probeRead(PAGE, 8)).toEqual({ ok: false, signal: 'SIGBUS', code: BUS_ADRERR, address })
    expect(mapping.probeWrite(PAGE, 8, 1n)).toEqual({
      ok: false,
      signal: 'SIGBUS',
      code: BUS_ADRERR,
      address,
    })
    expect(mapping.probeRead(PAGE - 8n, 8)).toEqual({ ok: true, value: 0n })
  })

  test('SIGSEGV SEGV_ACCERR where PROT_NONE', () => {
    const mapping = anonymous(scope, 2n * PAGE)
    mapping.mprotect(PAGE, PAGE, PROT_NONE)
    const address = mapping.address + PAGE + 16n

    expect(mapping.probeRead(PAGE + 16n, 1)).toEqual({
      ok: false,
      signal: 'SIGSEGV',
      code: SEGV_ACCERR,
      address,
    })
    expect(mapping.probeRead(PAGE - 8n, 8)).toEqual({ ok: true, value: 0n })
  })

  test('SIGSEGV SEGV_MAPERR where nothing is mapped', () => {
    const mapping = anonymous(scope, 3n * PAGE)
    mapping.munmap(PAGE, PAGE)
    const address = mapping.address + PAGE

    expect(mapping.probeWrite(PAGE, 8, 1n)).toEqual({
      ok: false,
      signal: 'SIGSEGV',
      code: SEGV_MAPERR,
      address,
    })
    expect(mapping.probeRead(2n * PAGE, 8)).toEqual({ ok: true, value: 0n })
  })

  test('a thousand times in a row', () => {
    const mapping = halfFile()

    const faults = Array.from({ length: 1000 }, () => mapping.probeRead(PAGE, 8).ok)

    expect(new Set(faults)).toEqual(new Set([false]))
  })
})

describe('a fault is a MemoryAccessError for a copy', () => {
  test.each([
    ['read', (mapping: NativeMapping) => mapping.read(PAGE - 4n, 64)],
    ['write', (mapping: NativeMapping) => mapping.write(PAGE - 4n, new Uint8Array(64))],
    ['fill', (mapping: NativeMapping) => mapping.fill(0n, 2n * PAGE, 1)],
    ['findMismatch', (mapping: NativeMapping) => mapping.findMismatch(0n, 2n * PAGE, 0)],
  ])('%s across the end of the file', (_, call) => {
    const mapping = halfFile()

    const error = thrownBy(() => call(mapping))

    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({
      name: 'MemoryAccessError',
      signal: 'SIGBUS',
      code: BUS_ADRERR,
      address: mapping.address + PAGE,
    })
  })

  test('what came before the fault is done', () => {
    const mapping = halfFile()

    thrownBy(() => mapping.fill(PAGE - 16n, 32n, 0x77))

    expect(mapping.findMismatch(PAGE - 16n, 16n, 0x77)).toBeNull()
  })
})

describe('forkProbe', () => {
  test('sees shared memory, and its write is seen', () => {
    const mapping = halfFile()
    mapping.probeWrite(0n, 8, 5n)

    expect(mapping.forkProbe(0n, 8, null)).toEqual({ ok: true, value: 5n })
    expect(mapping.forkProbe(8n, 8, 6n).ok).toBe(true)
    expect(mapping.probeRead(8n, 8)).toEqual({ ok: true, value: 6n })
  })

  test('writes private memory of the child only', () => {
    const mapping = anonymous(scope, PAGE)

    expect(mapping.forkProbe(0n, 8, 6n).ok).toBe(true)

    expect(mapping.probeRead(0n, 8)).toEqual({ ok: true, value: 0n })
  })

  test('brings the child’s fault back, and leaves no child', () => {
    const mapping = halfFile()
    const address = mapping.address + PAGE

    expect(mapping.forkProbe(PAGE, 8, null)).toEqual({
      ok: false,
      signal: 'SIGBUS',
      code: BUS_ADRERR,
      address,
    })
    expect(thrownBy(() => addon.syscall(WAIT4, [-1, null, WNOHANG, null]))).toMatchObject({ code: 'ECHILD' })
  })

  test('of a page the child does not inherit is a SIGSEGV', () => {
    const MADV_DONTFORK = 10
    const mapping = anonymous(scope, PAGE)
    mapping.madvise(0n, PAGE, MADV_DONTFORK)

    expect(mapping.forkProbe(0n, 8, null)).toMatchObject({ ok: false, signal: 'SIGSEGV', code: SEGV_MAPERR })
  })
})

describe('in a process of its own', () => {
  test.each(['SIGSEGV', 'SIGBUS'])('a %s outside of probes is still deadly', async (signal) => {
    const outcome = await inChild(`
      addon.mmap(4096n, 3, 34, -1, 0n, 0n).probeRead(0n, 8)
      process.kill(process.pid, '${signal}')
      setInterval(() => {}, 1000)`)

    expect(outcome).toMatchObject({ signal })
  })

  test('WebAssembly’s own fault handling still works', async () => {
    // (module (memory 1) (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))
    const module =
      '0061736d0100000001060160017f017f03020100050301000107080104 6c6f6164 0000 0a0901070020002802000b'
    const outcome = await inChild(`
      addon.mmap(4096n, 3, 34, -1, 0n, 0n).probeRead(0n, 8)
      const bytes = Buffer.from('${module.replaceAll(' ', '')}', 'hex')
      const { load } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports
      console.log(load(0))
      try { load(0x7ffffff0) } catch (error) { console.log(error.message) }`)

    expect(outcome).toMatchObject({ stdout: '0\nmemory access out of bounds', code: 0 })
  })
})
