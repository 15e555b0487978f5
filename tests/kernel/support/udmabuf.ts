// SPDX-License-Identifier: Apache-2.0
import { MAP_SHARED, O_RDWR, PROT_READ, PROT_WRITE, SYS } from 'gmem/abi'
import { type Bytes, binding, Mapping } from 'gmem/kvm'
import { type GmemContext, path } from 'gmem/testing'

const { addon } = binding
const DEVICE = '/dev/udmabuf'
/** include/uapi/linux/udmabuf.h: _IOW('u', 0x42, struct udmabuf_create). */
const UDMABUF_CREATE = 0x4018_7542
const MFD_ALLOW_SEALING = 2
const F_ADD_SEALS = 1033
const F_SEAL_SHRINK = 2

/** CONFIG_UDMABUF. */
export const udmabufDevice = path(DEVICE)

/** Pages of a memfd, seen through the memfd and through a dma-buf of them, whose mapping is VM_PFNMAP (mmap_udmabuf(), 7.3.4). */
export interface Udmabuf {
  readonly memfd: Mapping
  readonly dmabuf: Mapping
}

/** Makes one; both mappings are unmapped after the test. */
export function udmabuf({ defer }: Pick<GmemContext, 'defer'>, size: Bytes): Udmabuf {
  const memfd = addon.memfdCreate('udmabuf', MFD_ALLOW_SEALING)
  defer(() => addon.close(memfd))
  addon.ftruncate(memfd, size)
  addon.syscall(SYS.fcntl, [memfd, F_ADD_SEALS, F_SEAL_SHRINK])
  const device = addon.open(DEVICE, O_RDWR, 0)
  defer(() => addon.close(device))
  const request = new DataView(new ArrayBuffer(24))
  request.setUint32(0, memfd, true)
  request.setBigUint64(16, size, true)
  const dmabuf = addon.ioctl(device, UDMABUF_CREATE, new Uint8Array(request.buffer))
  defer(() => addon.close(dmabuf))
  const map = (fd: number): Mapping => {
    const mapping = new Mapping(addon.mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0n, 0n))
    defer(() => mapping.close())
    return mapping
  }
  return { memfd: map(memfd), dmabuf: map(dmabuf) }
}
