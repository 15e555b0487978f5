// SPDX-License-Identifier: Apache-2.0
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type GuestMemfd, Mapping, type Memory, type Vcpu } from 'gmem/kvm'
import { bytes, describe, expect, type GmemContext, guestMemfdFlag, pages, test } from 'gmem/testing'
import { BASE, errnoOf, privateMemory } from './support/conversion.js'
import { startChild } from './support/conversion-child.js'
import { hostAccesses, outsideOf } from './support/conversion-host-access.js'
import { ownVm } from './support/own-vm.js'

const needs = [...privateMemory, guestMemfdFlag.mmap('SW_PROTECTED')]
const COUNT = 16
const ROUNDS = 8
const CORE = '/tmp/gmem-core'
const CORE_PATTERN = '/proc/sys/kernel/core_pattern'
/** What the guest writes to each of its private pages; what the host keeps in its own. */
const SECRET = 0x5ec2_e75e_c2e7_5ec3n
const CANARY = 0xca4a_2111_ca4a_2111n

/** Numbers from 0 to `below`, the same for the same seed: a linear congruential generator. */
function numbersOf(seed: number): (below: number) => number {
  let state = BigInt(seed)
  return (below) => {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n)
    return Number((state >> 33n) % BigInt(below))
  }
}

interface Secrets {
  readonly memory: Memory
  readonly vcpu: Vcpu
  readonly mapping: Mapping
}

/** Private memory that the host has mapped, in which the guest has written SECRET. */
async function secretMemory({ kvm }: Pick<GmemContext, 'kvm'>): Promise<Secrets> {
  const vm = kvm.createVm({ type: 'SW_PROTECTED' })
  const memory = vm.addMemory({ gpa: BASE, size: pages(COUNT), guestMemfd: { mmap: true }, userspace: null })
  vm.setPrivate(memory)
  const vcpu = vm.createVcpu()
  for (let page = 0; page < COUNT; page += 1) await vcpu.write64(memory.gpaOf(pages(page)), SECRET)
  return { memory, vcpu, mapping: memory.guestMemfd.mmap() }
}

/** A core dump of a process that has mapped two files and nothing else that is dumped. */
async function coreDumpOf(
  { defer }: Pick<GmemContext, 'defer'>,
  file: GuestMemfd,
  ordinary: number,
): Promise<Buffer> {
  const before = readFileSync(CORE_PATTERN, 'latin1')
  defer(() => writeFileSync(CORE_PATTERN, before))
  defer(() => rmSync(CORE, { force: true }))
  writeFileSync(CORE_PATTERN, CORE)
  const child = startChild(DUMPING, [file.fd, ordinary])
  await child.says('mapped')
  await child.kill('SIGABRT')
  return readFileSync(CORE)
}

/** man 5 core: coredump_filter 0xa dumps shared mappings, of files and others. mmap, prlimit64(RLIMIT_CORE), MADV_DODUMP. */
const DUMPING = `
  const MAP_SHARED = 1, PROT_READ_WRITE = 3
  for (const [fd, length] of [[3, ${COUNT * 4096}n], [4, 4096n]]) {
    const hva = addon.syscall(9, [0n, length, PROT_READ_WRITE, MAP_SHARED, fd, 0n])
    addon.syscall(28, [hva, length, 17])
  }
  addon.syscall(302, [0, 4, new Uint8Array(16).fill(0xff), null])
  require('node:fs').writeFileSync('/proc/self/coredump_filter', '0xa')
  process.stdout.write('mapped\\n')
  setInterval(() => {}, 1000)
`

/** ptrace(2): PTRACE_SEIZE, _INTERRUPT, _PEEKDATA, _POKEDATA, _DETACH of this process, whose thread stops meanwhile; wait4(2). */
function tracing(secret: bigint, canary: bigint): string {
  return `
    const PID = ${process.pid}, WALL = 0x40000000
    const ptrace = (request, at, data) => addon.syscall(101, [request, PID, at, data])
    const attempt = (call) => { try { return call() } catch (error) { return error.message } }
    const peek = (at) => {
      const word = new BigUint64Array(1)
      ptrace(2, at, new Uint8Array(word.buffer))
      return word[0].toString(16)
    }
    const read = (at) => {
      const fd = require('node:fs').openSync('/proc/' + PID + '/mem', 'r')
      const word = Buffer.alloc(8)
      try { require('node:fs').readSync(fd, word, 0, 8, at) } catch (error) { return error.code }
      return word.readBigUInt64LE().toString(16)
    }
    const seen = []
    ptrace(0x4206, 0n, 0n)
    ptrace(0x4207, 0n, 0n)
    addon.syscall(61, [PID, null, WALL, null])
    for (const at of [${secret}n, ${canary}n]) seen.push(attempt(() => peek(at)), read(at))
    seen.push(attempt(() => ptrace(5, ${secret}n, 7n)), attempt(() => ptrace(5, ${canary}n, 7n)))
    ptrace(17, 0n, 0n)
    process.stdout.write(seen.join(' ') + '\\n')
  `
}

describe('a private page gives no byte', () => {
  test('to any sequence of host accesses, at any page and seed', { needs }, async (context) => {
    const { memory, vcpu } = await secretMemory(context)
    const outside = outsideOf(0x5a)
    context.defer(() => outside.close())
    const ways = hostAccesses.filter((access) => access.needs === undefined)
    const seed = Number(process.env.GMEM_SEED ?? 1)
    context.annotate(`GMEM_SEED=${seed}`)
    const next = numbersOf(seed)

    const picked = Array.from({ length: ROUNDS * ways.length }, () => next(ways.length))
    for (const { what, run, refusal } of picked.flatMap((index) => ways.slice(index, index + 1))) {
      using window = memory.guestMemfd.mmap({ offset: pages(next(COUNT)), size: pages(1) })
      const seen = errnoOf(() => run(window, outside))
      expect({ what, errno: seen }).toEqual({ what, errno: refusal })
    }

    expect(outside.mapping).toBeFilledWith(0x5a)
    for (let page = 0; page < COUNT; page += 1)
      expect(await vcpu.read64(memory.gpaOf(pages(page)))).toBe(SECRET)
  })

  test('to a core dump, which has the other pages of the process', {
    needs: [...needs, ownVm],
  }, async (context) => {
    const { memory } = await secretMemory(context)
    const ordinary = outsideOf(0)
    context.defer(() => ordinary.close())
    ordinary.mapping.write64(bytes(0), CANARY)

    const core = await coreDumpOf(context, memory.guestMemfd, ordinary.fd)

    expect(core.indexOf(wordOf(SECRET))).toBe(-1)
    expect(core.indexOf(wordOf(CANARY))).toBeGreaterThan(0)
  })

  test('to a process that traces its owner with ptrace(2), or reads /proc/PID/mem', {
    needs: [...needs, ownVm],
  }, async (context) => {
    const { memory, vcpu, mapping } = await secretMemory(context)
    using ordinary = Mapping.anonymous(pages(1))
    ordinary.write64(bytes(0), CANARY)

    const child = startChild(tracing(mapping.hva, ordinary.hva))

    // Peek and read of the private page, then of an ordinary one; poke of both.
    const canary = CANARY.toString(16)
    await child.says(`EIO EIO ${canary} ${canary} EIO 0`)
    await child.kill()
    expect(ordinary.read64(bytes(0))).toBe(7n)
    expect(await vcpu.read64(memory.gpa)).toBe(SECRET)
  })
})

function wordOf(value: bigint): Buffer {
  const word = Buffer.alloc(8)
  word.writeBigUInt64LE(value)
  return word
}
