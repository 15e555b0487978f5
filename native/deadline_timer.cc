// SPDX-License-Identifier: Apache-2.0
#include "deadline_timer.h"

#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <cmath>
#include <csignal>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace gmem {

DeadlineTimer::~DeadlineTimer() {
  if (created_) timer_delete(timer_);
}

int DeadlineTimer::Create() {
  sigevent event = {};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = KickSignal();
  event.sigev_value.sival_int = 1;
  event.sigev_notify_thread_id = gettid();
  if (timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0) return errno;
  created_ = true;
  return 0;
}

void DeadlineTimer::Arm(double milliseconds, VcpuSignals* signals) {
  signals->deadline_passed = 0;
  signals->deadline_armed = 1;
  const double seconds = std::floor(milliseconds / 1000);
  itimerspec when = {};
  when.it_value.tv_sec = static_cast<time_t>(seconds);
  when.it_value.tv_nsec = static_cast<long>((milliseconds - seconds * 1000) * 1e6);
  // Nothing but zero disarms; a deadline shorter than the clock's unit is one unit away.
  if (when.it_value.tv_sec == 0 && when.it_value.tv_nsec == 0) when.it_value.tv_nsec = 1;
  [[maybe_unused]] const int result = timer_settime(timer_, 0, &when, nullptr);
  assert(result == 0);
}

void DeadlineTimer::Disarm(VcpuSignals* signals) {
  const itimerspec never = {};
  // The kernel waits for an expiry that is under way, and delivers its signal to this thread before
  // the call returns.
  timer_settime(timer_, 0, &never, nullptr);
  signals->deadline_armed = 0;
}

}  // namespace gmem
