// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_KVM_ABI_H_
#define GMEM_KVM_ABI_H_

// The part of KVM's userspace ABI that distributions' linux/kvm.h may lack, under our own names so
// that a newer header does not clash. Old and stable structures (kvm_run, kvm_regs, ...) come from
// the header itself. Source: include/uapi/linux/kvm.h of Linux 7.3.4.

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>

namespace gmem::abi {

struct UserspaceMemoryRegion2 {
  uint32_t slot;
  uint32_t flags;
  uint64_t guest_phys_addr;
  uint64_t memory_size;
  uint64_t userspace_addr;
  uint64_t guest_memfd_offset;
  uint32_t guest_memfd;
  uint32_t pad1;
  uint64_t pad2[14];
};

struct MemoryAttributes {
  uint64_t address;
  uint64_t size;
  uint64_t attributes;
  uint64_t flags;
};

struct CreateGuestMemfd {
  uint64_t size;
  uint64_t flags;
  uint64_t reserved[6];
};

struct PreFaultMemory {
  uint64_t gpa;
  uint64_t size;
  uint64_t flags;
  uint64_t padding[5];
};

// kvm_cpuid2 without its entries: in C++ the header's flexible array has a size, and with it the
// ioctl another number.
struct CpuidHeader {
  uint32_t nent;
  uint32_t padding;
};

struct StatsHeader {
  uint32_t flags;
  uint32_t name_size;
  uint32_t num_desc;
  uint32_t id_offset;
  uint32_t desc_offset;
  uint32_t data_offset;
};

// The name follows: name_size bytes, zero terminated.
struct StatsDescriptor {
  uint32_t flags;
  int16_t exponent;
  uint16_t size;
  uint32_t offset;
  uint32_t bucket_size;
};

inline constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, CpuidHeader);
inline constexpr unsigned long kSetUserMemoryRegion2 = _IOW(KVMIO, 0x49, UserspaceMemoryRegion2);
inline constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, CpuidHeader);
inline constexpr unsigned long kGetStatsFd = _IO(KVMIO, 0xce);
inline constexpr unsigned long kSetMemoryAttributes = _IOW(KVMIO, 0xd2, MemoryAttributes);
inline constexpr unsigned long kCreateGuestMemfd = _IOWR(KVMIO, 0xd4, CreateGuestMemfd);
inline constexpr unsigned long kPreFaultMemory = _IOWR(KVMIO, 0xd5, PreFaultMemory);

static_assert(sizeof(UserspaceMemoryRegion2) == 160);
static_assert(offsetof(UserspaceMemoryRegion2, guest_memfd_offset) == 32);
static_assert(offsetof(UserspaceMemoryRegion2, guest_memfd) == 40);
static_assert(sizeof(MemoryAttributes) == 32);
static_assert(sizeof(CreateGuestMemfd) == 64);
static_assert(sizeof(PreFaultMemory) == 64);
static_assert(sizeof(StatsHeader) == 24);
static_assert(sizeof(StatsDescriptor) == 16);
static_assert(kGetSupportedCpuid == 0xc008ae05);
static_assert(kSetCpuid2 == 0x4008ae90);
static_assert(kSetUserMemoryRegion2 == 0x40a0ae49);
static_assert(kSetMemoryAttributes == 0x4020aed2);
static_assert(kCreateGuestMemfd == 0xc040aed4);
static_assert(kPreFaultMemory == 0xc040aed5);

// What the addon reads of kvm_run, from the header; the layout has been frozen since
// KVM_API_VERSION 12.
inline constexpr size_t kRunUnionOffset = 32;
inline constexpr size_t kRunUnionSize = 256;
static_assert(offsetof(kvm_run, immediate_exit) == 1);
static_assert(offsetof(kvm_run, exit_reason) == 8);
static_assert(offsetof(kvm_run, io) == kRunUnionOffset);
static_assert(sizeof(kvm_regs) == 144);
static_assert(sizeof(kvm_sregs) == 312);
static_assert(sizeof(kvm_userspace_memory_region) == 32);
static_assert(sizeof(kvm_enable_cap) == 104);
static_assert(sizeof(kvm_cpuid_entry2) == 40);

}  // namespace gmem::abi

#endif  // GMEM_KVM_ABI_H_
