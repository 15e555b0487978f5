// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { O_DIRECT, O_RDWR } from 'gmem/abi'
import { binding, Mapping, scaledMs } from 'gmem/kvm'
import { bytes, type GmemContext, type Need, PAGE_SIZE, pages, path } from 'gmem/testing'
import { sys } from './system-calls.js'
import type { Transfer } from './transfers.js'

type Scope = Pick<GmemContext, 'defer'>

const { addon } = binding

/** drivers/block/null_blk/main.c, 7.3.4: devices by configfs. */
const NULL_BLK = '/sys/kernel/config/nullb'
const DISK = 'gmem'
/** How late the disk says that it is done, on a plain kernel with hardware virtualization: far more than a test needs to look meanwhile. */
const LATENCY_MS = 25
/** include/uapi/linux/aio_abi.h: struct iocb's commands, and where its fields are. */
const IOCB_CMD_PREAD = 0
const IOCB_CMD_PWRITE = 1
const IOCB_BYTES = 64n
const IO_EVENT_BYTES = 32
const COMPLETION_S_MAX = 10
/** As few requests as will do: each costs the kernel memory. */
const QUEUE_DEPTH = 4

/** A block device that completes late, made as we like it. */
export const slowDisk: Need = path(NULL_BLK)

/** Starts an O_DIRECT write of a page to a slow disk. `finish` gives what the disk has then. */
export function directWrite(scope: Scope, hva: bigint): Transfer {
  const disk = openSlowDisk(scope)
  const copy = Mapping.anonymous(pages(1))
  scope.defer(() => copy.close())
  const done = submit(scope, [
    { disk, command: IOCB_CMD_PWRITE, hva },
    { disk, command: IOCB_CMD_PREAD, hva: copy.hva },
  ])
  return {
    finish: async () => {
      done()
      return copy.read(bytes(0), Number(PAGE_SIZE))
    },
  }
}

/** Starts an O_DIRECT read into a page of what a slow disk is given just before. */
export function directRead(scope: Scope, mapping: Mapping, offset: bigint, content: Uint8Array): Transfer {
  const disk = openSlowDisk(scope)
  const source = Mapping.anonymous(pages(1))
  scope.defer(() => source.close())
  source.write(bytes(0), content)
  const done = submit(scope, [
    { disk, command: IOCB_CMD_PWRITE, hva: source.hva },
    { disk, command: IOCB_CMD_PREAD, hva: mapping.hva + offset },
  ])
  return {
    finish: async () => {
      done()
      return mapping.read(bytes(offset), Number(PAGE_SIZE))
    },
  }
}

/** A disk of one MiB in memory. It takes and gives the bytes at once, and holds the caller's pages until it says that it is done. */
function openSlowDisk({ defer }: Scope): number {
  const folder = `${NULL_BLK}/${DISK}`
  const set = (attribute: string, value: number) => writeFileSync(`${folder}/${attribute}`, `${value}`)
  mkdirSync(folder)
  defer(() => rmdirSync(folder))
  set('memory_backed', 1)
  set('size', 1)
  set('blocksize', Number(PAGE_SIZE))
  // NULL_IRQ_TIMER
  set('irqmode', 2)
  set('completion_nsec', scaledMs(LATENCY_MS) * 1e6)
  set('hw_queue_depth', QUEUE_DEPTH)
  set('power', 1)
  const fd = addon.open(`/dev/${DISK}`, O_RDWR | O_DIRECT, 0)
  defer(() => addon.close(fd))
  return fd
}

interface Request {
  readonly disk: number
  readonly command: number
  readonly hva: bigint
}

/** io_submit(2) of requests for the first page of a disk: a function that waits until all are done, and Error where one has failed. */
function submit({ defer }: Scope, requests: readonly Request[]): () => void {
  const context = new Uint8Array(8)
  sys('io_setup', BigInt(requests.length), context)
  const id = new DataView(context.buffer).getBigUint64(0, true)
  const area = Mapping.anonymous(pages(1))
  defer(() => area.close())
  // Waits for what is under way.
  defer(() => void sys('io_destroy', id))
  const addresses = requests.map((request, index) => {
    const offset = bytes(BigInt(index) * IOCB_BYTES)
    area.write(offset, iocb(request))
    return area.hvaOf(offset)
  })
  sys('io_submit', id, BigInt(requests.length), new Uint8Array(BigUint64Array.from(addresses).buffer))
  return () => awaitEvents(id, requests.length)
}

function iocb({ disk, command, hva }: Request): Uint8Array {
  const data = new Uint8Array(Number(IOCB_BYTES))
  const view = new DataView(data.buffer)
  view.setUint16(16, command, true)
  view.setUint32(20, disk, true)
  view.setBigUint64(24, hva, true)
  view.setBigUint64(32, PAGE_SIZE, true)
  return data
}

function awaitEvents(id: bigint, count: number): void {
  const events = new Uint8Array(count * IO_EVENT_BYTES)
  const timeout = BigInt64Array.of(BigInt(scaledMs(COMPLETION_S_MAX)), 0n)
  const came = sys('io_getevents', id, BigInt(count), BigInt(count), events, new Uint8Array(timeout.buffer))
  // struct io_event: data, obj, res, res2.
  const view = new DataView(events.buffer)
  const results = Array.from({ length: count }, (_, index) =>
    view.getBigInt64(index * IO_EVENT_BYTES + 16, true),
  )
  if (came !== BigInt(count) || results.some((result) => result !== PAGE_SIZE))
    throw new Error(`${came} of ${count} transfers are done, with ${results.join(', ')}`)
}
