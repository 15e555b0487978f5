// SPDX-License-Identifier: Apache-2.0
import { binding, Mapping } from 'gmem/kvm'
import { bytes, pages } from 'gmem/testing'
import { sys } from './system-calls.js'

const AF_UNIX = 1
const SOCK_DGRAM = 2
const SOL_SOCKET = 1
const SCM_RIGHTS = 1

// Where the parts of a message are in a page of their own: struct msghdr, struct iovec, one byte of data, struct cmsghdr with one fd.
const AT = { msghdr: 0n, iovec: 64n, data: 96n, control: 128n }
const CONTROL_BYTES = 24n
const CMSG_LENGTH = 20n
const FD_IN_CONTROL = 16n

/** Sends an fd to ourselves by SCM_RIGHTS, and returns the new fd that comes out. */
export function passOverSocket(fd: number): number {
  const pair = new Uint8Array(8)
  sys('socketpair', AF_UNIX, SOCK_DGRAM, 0, pair)
  const view = new DataView(pair.buffer)
  const [from, to] = [view.getInt32(0, true), view.getInt32(4, true)]
  const message = Mapping.anonymous(pages(1))
  try {
    layOut(message)
    writeControl(message, fd)
    sys('sendmsg', from, message.hva, 0)
    writeControl(message, 0)
    sys('recvmsg', to, message.hva, 0)
    return new DataView(message.read(bytes(AT.control + FD_IN_CONTROL), 4).buffer).getInt32(0, true)
  } finally {
    message.close()
    binding.addon.close(from)
    binding.addon.close(to)
  }
}

function layOut(message: Mapping): void {
  message.write64(bytes(AT.msghdr + 16n), message.hva + AT.iovec)
  message.write64(bytes(AT.msghdr + 24n), 1n)
  message.write64(bytes(AT.msghdr + 32n), message.hva + AT.control)
  message.write64(bytes(AT.msghdr + 40n), CONTROL_BYTES)
  message.write64(bytes(AT.iovec), message.hva + AT.data)
  message.write64(bytes(AT.iovec + 8n), 1n)
}

function writeControl(message: Mapping, fd: number): void {
  const control = new Uint8Array(Number(CONTROL_BYTES))
  const view = new DataView(control.buffer)
  view.setBigUint64(0, CMSG_LENGTH, true)
  view.setInt32(8, SOL_SOCKET, true)
  view.setInt32(12, SCM_RIGHTS, true)
  view.setInt32(16, fd, true)
  message.write(bytes(AT.control), control)
}
