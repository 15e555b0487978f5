// SPDX-License-Identifier: Apache-2.0
import { binding } from '../../binding/index.js'

// include/uapi/linux/random.h: _IOW('R', 0x03, int[2]) and _IO('R', 0x07).
const RNDADDENTROPY = 0x40085203
const RNDRESEEDCRNG = 0x5207
// asm/unistd_64.h, time.h
const SYS_CLOCK_SETTIME = 227
const CLOCK_REALTIME = 0

/**
 * Makes a restored VM its own: every copy of a saved VM would otherwise draw the same random numbers and live at the
 * time when it was saved.
 */
export function becomeUnique(entropy: Uint8Array, realtimeNs: bigint): void {
  reseedKernel(entropy)
  reseedMathRandom(entropy)
  setClock(realtimeNs)
}

function reseedKernel(entropy: Uint8Array): void {
  const { addon } = binding
  const fd = addon.open('/dev/urandom', 2, 0)
  try {
    const request = new Uint8Array(8 + entropy.length)
    const view = new DataView(request.buffer)
    view.setInt32(0, entropy.length * 8, true)
    view.setInt32(4, entropy.length, true)
    request.set(entropy, 8)
    addon.ioctl(fd, RNDADDENTROPY, request)
    addon.ioctl(fd, RNDRESEEDCRNG, null)
  } finally {
    addon.close(fd)
  }
}

/** V8 seeds Math.random once a process, and the saved process has done so; this is splitmix64 from the new entropy. */
function reseedMathRandom(entropy: Uint8Array): void {
  let state = new DataView(entropy.buffer, entropy.byteOffset).getBigUint64(0, true)
  const mask = (1n << 64n) - 1n
  Math.random = () => {
    state = (state + 0x9e3779b97f4a7c15n) & mask
    let z = state
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask
    return Number((z ^ (z >> 31n)) >> 11n) / 2 ** 53
  }
}

function setClock(realtimeNs: bigint): void {
  const timespec = new Uint8Array(16)
  const view = new DataView(timespec.buffer)
  view.setBigInt64(0, realtimeNs / 1_000_000_000n, true)
  view.setBigInt64(8, realtimeNs % 1_000_000_000n, true)
  binding.addon.syscall(SYS_CLOCK_SETTIME, [CLOCK_REALTIME, timespec])
}
