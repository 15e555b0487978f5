// SPDX-License-Identifier: Apache-2.0
/*
 * Answers one question on the console: can this kernel's KVM run a guest here? It runs five
 * real-mode instructions in a VM and checks what they computed, because a processor flag, a loaded
 * module or a created VM are no proof. Prints "gmem-trial: ok" or "gmem-trial: failed: STEP:
 * ERRNO", and ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define PAGE 4096
#define RESULT_PORT 0x3f8
#define EXPECTED 42

/* mov $40, %al; add $2, %al; mov $0x3f8, %dx; out %al, (%dx); hlt */
static const unsigned char kCode[] = {
    0xb0, 40, 0x04, 2, 0xba, RESULT_PORT & 0xff, RESULT_PORT >> 8, 0xee, 0xf4};

static void fail(const char *step) __attribute__((noreturn));

static void fail(const char *step) {
  printf("gmem-trial: failed: %s: %s\n", step, strerrorname_np(errno));
  exit(0);
}

static int must(const char *step, int result) {
  if (result < 0) fail(step);
  return result;
}

static void set_real_mode(int vcpu) {
  struct kvm_sregs sregs;
  must("KVM_GET_SREGS", ioctl(vcpu, KVM_GET_SREGS, &sregs));
  sregs.cs.base = 0;
  sregs.cs.selector = 0;
  must("KVM_SET_SREGS", ioctl(vcpu, KVM_SET_SREGS, &sregs));
  struct kvm_regs regs = {.rip = 0, .rflags = 2};
  must("KVM_SET_REGS", ioctl(vcpu, KVM_SET_REGS, &regs));
}

static bool computes(int vcpu, struct kvm_run *run) {
  must("KVM_RUN", ioctl(vcpu, KVM_RUN, 0));
  if (run->exit_reason != KVM_EXIT_IO || run->io.port != RESULT_PORT) return false;
  if (*((unsigned char *)run + run->io.data_offset) != EXPECTED) return false;
  must("KVM_RUN", ioctl(vcpu, KVM_RUN, 0));
  return run->exit_reason == KVM_EXIT_HLT;
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  int kvm = must("open /dev/kvm", open("/dev/kvm", O_RDWR | O_CLOEXEC));
  int vm = must("KVM_CREATE_VM", ioctl(kvm, KVM_CREATE_VM, 0));
  void *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  memcpy(memory, kCode, sizeof kCode);
  struct kvm_userspace_memory_region region = {.memory_size = PAGE,
                                               .userspace_addr = (__u64)(unsigned long)memory};
  must("KVM_SET_USER_MEMORY_REGION", ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));
  int vcpu = must("KVM_CREATE_VCPU", ioctl(vm, KVM_CREATE_VCPU, 0));
  int run_size = must("KVM_GET_VCPU_MMAP_SIZE", ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
  struct kvm_run *run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (run == MAP_FAILED) fail("mmap of the vCPU");
  set_real_mode(vcpu);
  if (computes(vcpu, run)) {
    printf("gmem-trial: ok\n");
  } else {
    printf("gmem-trial: failed: KVM_RUN: exit reason %u instead of the expected result\n",
           run->exit_reason);
  }
  return 0;
}
