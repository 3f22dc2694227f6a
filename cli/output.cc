// SPDX-License-Identifier: MIT
#include "cli/output.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace capstan::cli {
namespace {

constexpr std::size_t kBufferBytes = 64 * 1024;
/// A longer line is cut into several: what is kept back for a task is bounded.
constexpr std::size_t kLineBytes = 64 * 1024;

}  // namespace

void Output::write(std::string_view bytes) {
  buffer_.append(bytes);
  if (buffer_.size() >= kBufferBytes) drain();
}

void Output::drain() {
  std::string_view rest = buffer_;
  while (!rest.empty() && error_ == 0) {
    const ssize_t written = ::write(fd_, rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {  // Somebody made the terminal non-blocking.
      pollfd wait{fd_, POLLOUT, 0};
      ::poll(&wait, 1, -1);
    } else if (errno != EINTR) {
      error_ = errno;
    }
  }
  buffer_.clear();
}

Outcome<void> Output::flush() {
  drain();
  if (error_ == 0) return {};
  const std::string name = fd_ == STDOUT_FILENO ? "standard output" : "standard error";
  return fail_with(kExitFailed, "cannot write to " + name + ": " + errno_text(error_));
}

std::string LinePrefixer::add(std::string_view bytes) {
  if (prefix_.empty()) return std::string(bytes);
  std::string out;
  while (!bytes.empty()) {
    const std::size_t newline = bytes.find('\n');
    if (newline == std::string_view::npos) {
      unfinished_.append(bytes);
      if (unfinished_.size() >= kLineBytes) out += finish();
      break;
    }
    out += prefix_ + std::exchange(unfinished_, {});
    out.append(bytes.substr(0, newline + 1));
    bytes.remove_prefix(newline + 1);
  }
  return out;
}

std::string LinePrefixer::finish() {
  if (unfinished_.empty()) return "";
  return prefix_ + std::exchange(unfinished_, {}) + "\n";
}

}  // namespace capstan::cli
