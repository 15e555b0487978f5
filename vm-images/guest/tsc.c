// SPDX-License-Identifier: Apache-2.0
/*
 * Runs on the host: prints the frequency of its time-stamp counter in kHz. An emulated guest reads
 * that same counter, and its kernel's own calibration against emulated timers goes wrong on a busy
 * host (guest time then runs at several times its speed for the whole life of the VM), so it is
 * told (tsc_early_khz).
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

#define TRIES 1000
#define INTERVAL_NS 50000000L

struct sample {
  uint64_t tsc;
  uint64_t ns;
};

/* Of many readings the one during which least time passed: nothing interrupted it. */
static struct sample read_clocks(void) {
  struct sample best = {0, 0};
  uint64_t shortest = UINT64_MAX;
  for (int i = 0; i < TRIES; i++) {
    struct timespec now;
    uint64_t before = __rdtsc();
    clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    uint64_t after = __rdtsc();
    if (after - before >= shortest) continue;
    shortest = after - before;
    best.tsc = before + (after - before) / 2;
    best.ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
  }
  return best;
}

int main(void) {
  struct sample first = read_clocks();
  nanosleep(&(struct timespec){.tv_nsec = INTERVAL_NS}, NULL);
  struct sample second = read_clocks();
  double khz = (double)(second.tsc - first.tsc) * 1e6 / (double)(second.ns - first.ns);
  printf("%.0f\n", khz);
  return 0;
}
