// SPDX-License-Identifier: Apache-2.0
import { io, ior, iow, iowr, KVM_GMEM_IO, KVMIO } from './ioc.js'

/**
 * KVM's ioctl request numbers on x86-64, by the name the kernel gives them.
 * Source: include/uapi/linux/kvm.h of Linux 7.3.4; struct sizes as in ./structs.ts.
 */

// System fd (/dev/kvm).
export const KVM_GET_API_VERSION = io(KVMIO, 0x00)
export const KVM_CREATE_VM = io(KVMIO, 0x01)
export const KVM_CHECK_EXTENSION = io(KVMIO, 0x03)
export const KVM_GET_VCPU_MMAP_SIZE = io(KVMIO, 0x04)
export const KVM_GET_SUPPORTED_CPUID = iowr(KVMIO, 0x05, 8)

// VM fd.
export const KVM_CREATE_VCPU = io(KVMIO, 0x41)
export const KVM_GET_DIRTY_LOG = iow(KVMIO, 0x42, 16)
export const KVM_SET_USER_MEMORY_REGION = iow(KVMIO, 0x46, 32)
export const KVM_SET_TSS_ADDR = io(KVMIO, 0x47)
export const KVM_SET_IDENTITY_MAP_ADDR = iow(KVMIO, 0x48, 8)
export const KVM_SET_USER_MEMORY_REGION2 = iow(KVMIO, 0x49, 160)
export const KVM_CREATE_IRQCHIP = io(KVMIO, 0x60)
export const KVM_ENABLE_CAP = iow(KVMIO, 0xa3, 104)
export const KVM_CLEAR_DIRTY_LOG = iowr(KVMIO, 0xc0, 24)
export const KVM_GET_STATS_FD = io(KVMIO, 0xce)
export const KVM_SET_MEMORY_ATTRIBUTES = iow(KVMIO, 0xd2, 32)
export const KVM_CREATE_GUEST_MEMFD = iowr(KVMIO, 0xd4, 64)

// vCPU fd.
export const KVM_RUN = io(KVMIO, 0x80)
export const KVM_GET_REGS = ior(KVMIO, 0x81, 144)
export const KVM_SET_REGS = iow(KVMIO, 0x82, 144)
export const KVM_GET_SREGS = ior(KVMIO, 0x83, 312)
export const KVM_SET_SREGS = iow(KVMIO, 0x84, 312)
export const KVM_TRANSLATE = iowr(KVMIO, 0x85, 24)
export const KVM_INTERRUPT = iow(KVMIO, 0x86, 4)
export const KVM_SET_CPUID2 = iow(KVMIO, 0x90, 8)
export const KVM_GET_CPUID2 = iowr(KVMIO, 0x91, 8)
export const KVM_GET_MP_STATE = ior(KVMIO, 0x98, 4)
export const KVM_SET_MP_STATE = iow(KVMIO, 0x99, 4)
export const KVM_NMI = io(KVMIO, 0x9a)
export const KVM_PRE_FAULT_MEMORY = iowr(KVMIO, 0xd5, 64)

/**
 * On the guest_memfd fd, not in any release up to 7.3: in-place conversion (patch series "guest_memfd: In-place conversion support",
 * v8 13/46 of 2026-06-18, the same in v13, queued for 7.4). The same nr as KVM_SET_MEMORY_ATTRIBUTES with another direction and size.
 */
export const KVM_SET_MEMORY_ATTRIBUTES2 = iowr(KVMIO, 0xd2, 128)

// On the guest_memfd fd, in no release: what the same feature was before (RFC v2 of 2025-05-14, 04/51), one ioctl for each direction.
export const KVM_GMEM_CONVERT_SHARED = iowr(KVM_GMEM_IO, 0x41, 64)
export const KVM_GMEM_CONVERT_PRIVATE = iowr(KVM_GMEM_IO, 0x42, 64)
