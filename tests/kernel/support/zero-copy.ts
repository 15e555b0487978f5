// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises'
import { binding, KernelError } from 'gmem/kvm'
import type { GmemContext } from 'gmem/testing'
import { PAGE_SIZE } from 'gmem/testing'
import { sys, sysNumber } from './system-calls.js'
import type { Transfer } from './transfers.js'

type Scope = Pick<GmemContext, 'defer' | 'signal'>

const AF_INET = 2
const SOCK_STREAM = 1
const SOL_SOCKET = 1
const SO_SNDBUF = 7
const SO_RCVBUF = 8
const SO_ZEROCOPY = 60
const MSG_DONTWAIT = 0x40
const MSG_ZEROCOPY = 0x4000000
const SOCKADDR_IN_BYTES = 16
/** More than the receiver's buffer takes: what is sent after it stays with the sender until somebody reads. */
const FILLER_BYTES = 65_536
const RECEIVE_BUFFER_BYTES = 4096
const SEND_BUFFER_BYTES = 262_144

/**
 * Sends a page over loopback TCP with MSG_ZEROCOPY. The receiver's buffer is full: the page waits in the sender's queue (had it gone out,
 * loopback would have copied it: skb_orphan_frags_rx(), net/core/dev.c, 7.3.4). `finish` reads it all.
 */
export function sendZeroCopy(scope: Scope, hva: bigint): Transfer {
  const { sender, receiver } = connection(scope)
  setOption(sender, SO_ZEROCOPY, 1)
  setOption(sender, SO_SNDBUF, SEND_BUFFER_BYTES)
  const filler = new Uint8Array(FILLER_BYTES)
  const filled = sysNumber('sendto', sender, filler, BigInt(filler.length), MSG_DONTWAIT, null, 0n)
  const sent = sysNumber('sendto', sender, hva, PAGE_SIZE, MSG_ZEROCOPY | MSG_DONTWAIT, null, 0n)
  if (sent !== Number(PAGE_SIZE)) throw new Error(`only ${sent} bytes of the page were sent`)
  return {
    finish: async () => (await receive(scope, receiver, filled + sent)).subarray(filled),
  }
}

function connection({ defer }: Scope): { readonly sender: number; readonly receiver: number } {
  const socket = (): number => {
    const fd = sysNumber('socket', AF_INET, SOCK_STREAM, 0)
    defer(() => binding.addon.close(fd))
    return fd
  }
  const listener = socket()
  // What it accepts inherits it.
  setOption(listener, SO_RCVBUF, RECEIVE_BUFFER_BYTES)
  const address = loopback()
  sys('bind', listener, address, BigInt(address.length))
  sys('listen', listener, 1)
  sys('getsockname', listener, address, Uint8Array.of(SOCKADDR_IN_BYTES, 0, 0, 0))
  const sender = socket()
  sys('connect', sender, address, BigInt(address.length))
  const receiver = sysNumber('accept', listener, null, null)
  defer(() => binding.addon.close(receiver))
  return { sender, receiver }
}

/** struct sockaddr_in of 127.0.0.1, any port. */
function loopback(): Uint8Array {
  const address = new Uint8Array(SOCKADDR_IN_BYTES)
  address[0] = AF_INET
  address.set([127, 0, 0, 1], 4)
  return address
}

function setOption(fd: number, option: number, value: number): void {
  sys('setsockopt', fd, SOL_SOCKET, option, new Uint8Array(Int32Array.of(value).buffer), 4n)
}

async function receive({ signal }: Scope, fd: number, length: number): Promise<Uint8Array> {
  const data = new Uint8Array(length)
  let received = 0
  while (received < length) {
    const part = new Uint8Array(length - received)
    const count = receiveNow(fd, part)
    data.set(part.subarray(0, count), received)
    received += count
    if (count === 0) await sleep(1, undefined, { signal })
  }
  return data
}

/** 0 where nothing is there yet. */
function receiveNow(fd: number, part: Uint8Array): number {
  try {
    return sysNumber('recvfrom', fd, part, BigInt(part.length), MSG_DONTWAIT, null, null)
  } catch (error) {
    if (error instanceof KernelError && error.code === 'EAGAIN') return 0
    throw error
  }
}
