// SPDX-License-Identifier: Apache-2.0
/* The same loop as in bench.mjs without the addon: prints nanoseconds for one KVM_SET_MEMORY_ATTRIBUTES call. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#define KVM_CREATE_VM 0xAE01
#define KVM_X86_SW_PROTECTED_VM 1
#define KVM_SET_MEMORY_ATTRIBUTES 0x4020AED2
#define KVM_MEMORY_ATTRIBUTE_PRIVATE 8

struct kvm_memory_attributes {
  uint64_t address, size, attributes, flags;
};

static void check(int result, const char *what) {
  if (result >= 0) return;
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

int main(int argc, char **argv) {
  const int calls = argc > 1 ? atoi(argv[1]) : 20000;
  const int kvm = open("/dev/kvm", O_RDWR);
  check(kvm, "/dev/kvm");
  const int vm = ioctl(kvm, KVM_CREATE_VM, KVM_X86_SW_PROTECTED_VM);
  check(vm, "KVM_CREATE_VM");
  struct kvm_memory_attributes request = {0x10000000, 4096, 0, 0};
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (int call = 0; call < calls; call++) {
    request.attributes = call & 1 ? 0 : KVM_MEMORY_ATTRIBUTE_PRIVATE;
    check(ioctl(vm, KVM_SET_MEMORY_ATTRIBUTES, &request), "KVM_SET_MEMORY_ATTRIBUTES");
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  const double ns = (end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec);
  printf("%.0f\n", ns / calls);
  return 0;
}
