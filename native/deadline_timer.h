// SPDX-License-Identifier: Apache-2.0
#ifndef GMEM_DEADLINE_TIMER_H_
#define GMEM_DEADLINE_TIMER_H_

#include <ctime>

#include "signals.h"

namespace gmem {

// A POSIX timer that sends the kick signal to one thread. Made, armed and disarmed by that thread.
class DeadlineTimer {
 public:
  DeadlineTimer() = default;
  DeadlineTimer(const DeadlineTimer&) = delete;
  DeadlineTimer& operator=(const DeadlineTimer&) = delete;
  ~DeadlineTimer();

  // For the calling thread: 0, or an errno.
  int Create();
  // Only after this many milliseconds (> 0) may `signals` see its deadline pass.
  void Arm(double milliseconds, VcpuSignals* signals);
  // After it no signal of this timer changes `signals`.
  void Disarm(VcpuSignals* signals);

 private:
  timer_t timer_ = nullptr;
  bool created_ = false;
};

}  // namespace gmem

#endif  // GMEM_DEADLINE_TIMER_H_
