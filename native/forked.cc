// SPDX-License-Identifier: Apache-2.0
#include "forked.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <vector>

#include "signals.h"
#include "unique_fd.h"

namespace gmem {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kLimit = std::chrono::seconds(5);
constexpr auto kReapLimit = std::chrono::seconds(5);

[[noreturn]] void RunChild(void (*body)(void*), void* context, size_t size, int pipe) {
  body(context);
  const char* rest = static_cast<const char*>(context);
  while (size > 0) {
    const ssize_t written = write(pipe, rest, size);
    if (written <= 0) _exit(1);
    rest += written;
    size -= static_cast<size_t>(written);
  }
  _exit(0);
}

int MillisecondsUntil(Clock::time_point limit) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(limit - Clock::now()).count();
  return left > 0 ? static_cast<int>(left) : 0;
}

// True where all bytes came before the limit; false at end of file or at the limit.
bool ReadReport(int pipe, char* destination, size_t size, Clock::time_point limit) {
  while (size > 0) {
    pollfd waiting{pipe, POLLIN, 0};
    const int ready = poll(&waiting, 1, MillisecondsUntil(limit));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    const ssize_t count = read(pipe, destination, size);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    destination += count;
    size -= static_cast<size_t>(count);
  }
  return true;
}

// Polls, because waitpid has no limit of its own, and a child can be stuck in the kernel.
bool Reap(pid_t child, int* status, Clock::time_point limit) {
  for (;;) {
    const pid_t result = waitpid(child, status, WNOHANG);
    if (result == child) return true;
    if (result < 0 && errno != EINTR) return false;
    if (Clock::now() >= limit) return false;
    usleep(500);
  }
}

std::string Describe(bool reaped, int status) {
  if (!reaped) return "the forked child did not exit after SIGKILL";
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
    return "the forked child did not report within 5 s and was killed";
  }
  if (WIFSIGNALED(status)) {
    return std::string("the forked child died of SIG") + sigabbrev_np(WTERMSIG(status));
  }
  return "the forked child exited with " + std::to_string(WEXITSTATUS(status)) +
         " before it reported";
}

}  // namespace

ForkedOutcome RunForked(void (*body)(void*), void* context, size_t size) {
  ForkedOutcome outcome;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    outcome.error = errno;
    outcome.failed_syscall = "pipe2";
    return outcome;
  }
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  std::vector<char> report(size);

  pid_t child;
  {
    // libuv's handlers write into a pipe that the child shares with us: no signal may reach them
    // there.
    const BlockForeignSignals block;
    child = fork();
    if (child == 0) RunChild(body, context, size, write_end.get());
    outcome.error = child < 0 ? errno : 0;
  }
  if (child < 0) {
    outcome.failed_syscall = "fork";
    return outcome;
  }

  write_end.Reset();
  outcome.reported = ReadReport(read_end.get(), report.data(), size, Clock::now() + kLimit);
  if (!outcome.reported) kill(child, SIGKILL);
  int status = 0;
  const bool reaped = Reap(child, &status, Clock::now() + kReapLimit);
  if (outcome.reported) {
    std::memcpy(context, report.data(), size);
  } else {
    outcome.problem = Describe(reaped, status);
  }
  return outcome;
}

}  // namespace gmem
