// SPDX-License-Identifier: MIT
#include "worker/pair_channel.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

namespace capstan {

namespace {
constexpr std::size_t kReadBytes = 64 * 1024;
constexpr int kReadsPerTurn = 8;
constexpr int kSocketBytes = 1024 * 1024;  // As far as the system allows.
}  // namespace

PairChannel::PairChannel(UniqueFd fd) : fd_(std::move(fd)) {
  ::fcntl(fd_.get(), F_SETFL, O_NONBLOCK);
  ::fcntl(fd_.get(), F_SETFD, FD_CLOEXEC);
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUF, &kSocketBytes, sizeof kSocketBytes);
}

bool PairChannel::flush() {
  while (fd_ && sent_ < out_.size()) {
    const ssize_t sent = ::send(fd_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN;
    sent_ += static_cast<std::size_t>(sent);
  }
  out_.clear();
  sent_ = 0;
  return true;
}

bool PairChannel::receive(const std::function<bool(std::string_view)>& on_frame) {
  char buffer[kReadBytes];
  for (int i = 0; fd_ && i < kReadsPerTurn; ++i) {
    const ssize_t got = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) return false;
    framer_.feed(std::string_view(buffer, static_cast<std::size_t>(got)));
    std::string_view payload;
    for (;;) {
      const Result<bool> more = framer_.next(payload);
      if (!more) return false;
      if (!*more) break;
      if (!on_frame(payload)) return false;
    }
    if (static_cast<std::size_t>(got) < sizeof buffer) return true;
  }
  return true;
}

void PairChannel::close() {
  fd_.reset();
  framer_.clear();
  out_.clear();
  sent_ = 0;
}

}  // namespace capstan
