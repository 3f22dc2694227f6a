// SPDX-License-Identifier: MIT
//
// poll() in one pass: ask every source, wait in ppoll (nanoseconds, so nothing spins out the last
// millisecond of a deadline), then run what is due. Callbacks may watch, unwatch, attach, retire
// and post: what they remove is kept until the pass is over.
#include "common/net/event_loop.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <map>
#include <mutex>
#include <utility>

#include "common/base/check.h"
#include "common/base/unique_fd.h"
#include "common/net/poll_source.h"

namespace capstan::net {

struct EventLoop::Impl {
  using Watched = std::map<int, std::unique_ptr<Callback>>;

  SystemClock clock;
  UniqueFd wake;
  UniqueFd signals;
  std::function<void(int)> on_signal;
  sigset_t mask_before{};
  bool were_blocked = false;  // What comes too late for this loop is for the next one.
  Watched watched;
  std::vector<PollSource*> sources;
  bool is_polling = false;
  std::vector<std::unique_ptr<Callback>> unwatched;  // Until the pass is over.
  std::vector<std::unique_ptr<PollSource>> retired;  // The same.
  std::mutex mutex;
  std::vector<Callback> posted;  // Guarded by mutex.

  bool has_posted() {
    const std::lock_guard lock(mutex);
    return !posted.empty();
  }
  bool is_attached(const PollSource* source) const {
    return std::find(sources.begin(), sources.end(), source) != sources.end();
  }
  void wait(TimePoint deadline, std::vector<pollfd>& fds);
  void run_posted();
  void run_signals();
  void run_watched(const std::vector<pollfd>& fds);
  void run_sources();
};

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()) {
  impl_->wake.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  CHECK(impl_->wake);
}

EventLoop::~EventLoop() {
  if (!impl_->signals || impl_->were_blocked) return;
  signalfd_siginfo pending{};
  while (::read(impl_->signals.get(), &pending, sizeof pending) == sizeof pending) continue;
  ::pthread_sigmask(SIG_SETMASK, &impl_->mask_before, nullptr);
}

void EventLoop::watch(int fd, Callback ready) {
  unwatch(fd);
  impl_->watched[fd] = std::make_unique<Callback>(std::move(ready));
}

void EventLoop::unwatch(int fd) {
  const auto found = impl_->watched.find(fd);
  if (found == impl_->watched.end()) return;
  if (impl_->is_polling) impl_->unwatched.push_back(std::move(found->second));
  impl_->watched.erase(found);
}

Result<void> EventLoop::on_signals(std::vector<int> signals, std::function<void(int)> handler) {
  if (impl_->signals) return fail(Errc::Invalid, "signals are being handled already");
  sigset_t set;
  sigemptyset(&set);
  for (const int one : signals) sigaddset(&set, one);
  if (const int error = ::pthread_sigmask(SIG_BLOCK, &set, &impl_->mask_before); error != 0) {
    return fail(Errc::Io, "while blocking signals: " + errno_text(error));
  }
  impl_->signals.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!impl_->signals) {
    const int error = errno;
    ::pthread_sigmask(SIG_SETMASK, &impl_->mask_before, nullptr);
    return fail(Errc::Io, "while making a descriptor for signals: " + errno_text(error));
  }
  impl_->were_blocked = std::all_of(signals.begin(), signals.end(), [this](int one) {
    return ::sigismember(&impl_->mask_before, one) == 1;
  });
  impl_->on_signal = std::move(handler);
  return {};
}

void EventLoop::post(Callback task) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->posted.push_back(std::move(task));
  }
  const std::uint64_t one = 1;
  // Only EAGAIN can fail here, at 2^64 - 2 wake-ups: the descriptor is readable then anyway.
  [[maybe_unused]] const auto written = ::write(impl_->wake.get(), &one, sizeof one);
}

void EventLoop::attach(PollSource& source) {
  impl_->sources.push_back(&source);
}

void EventLoop::retire(std::unique_ptr<PollSource> source) {
  std::erase(impl_->sources, source.get());
  if (impl_->is_polling) impl_->retired.push_back(std::move(source));
}

void EventLoop::Impl::wait(TimePoint deadline, std::vector<pollfd>& fds) {
  fds.push_back({wake.get(), POLLIN, 0});
  fds.push_back({signals.get(), POLLIN, 0});  // -1 is skipped by poll.
  for (const auto& [fd, callback] : watched) fds.push_back({fd, POLLIN, 0});
  std::vector<int> descriptors;
  for (const PollSource* source : sources) source->add_descriptors(descriptors);
  for (const int fd : descriptors) fds.push_back({fd, POLLIN, 0});

  bool ready = has_posted();
  for (PollSource* source : sources) {
    ready = source->is_ready() || ready;
    deadline = std::min(deadline, source->next_deadline());
  }
  timespec timeout{};
  const timespec* limit = &timeout;
  if (!ready && deadline == TimePoint::never()) {
    limit = nullptr;
  } else if (const TimePoint now = clock.now(); !ready && deadline > now) {
    const std::int64_t us = (deadline - now).count();
    timeout.tv_sec = us / 1'000'000;
    timeout.tv_nsec = us % 1'000'000 * 1'000;
  }
  if (::ppoll(fds.data(), fds.size(), limit, nullptr) < 0) {
    CHECK(errno == EINTR);
    for (pollfd& one : fds) one.revents = 0;
  }
}

void EventLoop::Impl::run_posted() {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(wake.get(), &count, sizeof count);
  std::vector<Callback> due;
  {
    const std::lock_guard lock(mutex);
    due.swap(posted);
  }
  for (const Callback& task : due) task();
}

void EventLoop::Impl::run_signals() {
  signalfd_siginfo one{};
  while (::read(signals.get(), &one, sizeof one) == sizeof one) {
    on_signal(static_cast<int>(one.ssi_signo));
  }
}

void EventLoop::Impl::run_watched(const std::vector<pollfd>& fds) {
  // Which callbacks are due is decided before the first runs: one of them may close a descriptor
  // and another get its number.
  std::vector<std::pair<int, Callback*>> due;
  for (const pollfd& one : fds) {
    if (one.revents == 0) continue;
    if (const auto found = watched.find(one.fd); found != watched.end()) {
      due.emplace_back(one.fd, found->second.get());
    }
  }
  for (const auto& [fd, callback] : due) {
    const auto found = watched.find(fd);
    if (found != watched.end() && found->second.get() == callback) (*callback)();
  }
}

void EventLoop::Impl::run_sources() {
  const std::vector<PollSource*> snapshot = sources;
  for (PollSource* source : snapshot) {
    if (!is_attached(source)) continue;
    const TimePoint now = clock.now();
    if (source->is_ready() || source->next_deadline() <= now) source->run(now);
  }
}

void EventLoop::poll(TimePoint deadline) {
  CHECK(!impl_->is_polling);
  std::vector<pollfd> fds;
  impl_->wait(deadline, fds);
  impl_->is_polling = true;
  impl_->run_posted();
  if (impl_->signals) impl_->run_signals();
  impl_->run_watched(fds);
  impl_->run_sources();
  impl_->is_polling = false;
  impl_->unwatched.clear();
  impl_->retired.clear();
}

}  // namespace capstan::net
