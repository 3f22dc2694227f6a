// SPDX-License-Identifier: MIT
#include "cli/dev_control.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "common/base/bytes.h"

namespace capstan::cli {
namespace {

constexpr std::size_t kRequestBytes = 256;

/// The address of DIR/dev.sock by a descriptor of DIR: the path itself may be longer than the 107
/// bytes that an address holds.
struct Address {
  UniqueFd dir;
  sockaddr_un name{};
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&name); }
};

Outcome<Address> address_in(const std::string& dir) {
  Address address;
  address.dir.reset(::open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!address.dir) {
    return fail_with(kExitUnavailable,
                     "no capstan dev runs in " + printable(dir) + ": " + errno_text(errno));
  }
  address.name.sun_family = AF_UNIX;
  fmt::format_to_n(address.name.sun_path, sizeof address.name.sun_path - 1,
                   "/proc/self/fd/{}/dev.sock", address.dir.get());
  return address;
}

bool send_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

}  // namespace

Outcome<std::unique_ptr<DevControl>> DevControl::open(net::EventLoop& loop, const std::string& dir,
                                                      OnRequest on_request) {
  const Address address = TRY(address_in(dir));
  if (ask_dev_cluster(dir, "ps")) {
    return fail_with(kExitRefused, "a capstan dev runs in " + printable(dir) +
                                       " already: end that one, or take another --dir");
  }
  const std::string path = dir + "/dev.sock";
  ::unlink(path.c_str());
  std::unique_ptr<DevControl> control(new DevControl(loop, path, std::move(on_request)));
  control->socket_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // Ours alone, from its first moment on.
  const mode_t before = ::umask(0177);
  const int bound = ::bind(control->socket_.get(), address.get(), sizeof address.name);
  const int error = errno;
  ::umask(before);
  if (bound != 0 || ::listen(control->socket_.get(), 16) != 0) {
    return fail_with(kExitFailed, "cannot make " + printable(path) + ": " + errno_text(error));
  }
  DevControl* const self = control.get();
  loop.watch(control->socket_.get(), [self] { self->accept_one(); });
  return control;
}

DevControl::~DevControl() {
  if (socket_) {
    loop_.unwatch(socket_.get());
    ::unlink(path_.c_str());
  }
  for (auto& [fd, connection] : connections_) {
    loop_.unwatch(fd);
    if (connection.dying) loop_.unwatch(connection.dying.get());
  }
}

void DevControl::accept_one() {
  UniqueFd fd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) return;
  const int number = fd.get();
  connections_[number].fd = std::move(fd);
  loop_.watch(number, [this, number] { on_readable(number); });
}

void DevControl::on_readable(int fd) {
  Connection& connection = connections_.at(fd);
  char block[kRequestBytes];
  const ssize_t got = ::read(fd, block, sizeof block);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0) connection.line.append(block, static_cast<std::size_t>(got));
  const std::size_t newline = connection.line.find('\n');
  if (newline == std::string::npos && got > 0 && connection.line.size() < kRequestBytes) return;
  if (newline == std::string::npos) {  // It left, or talks nonsense.
    return answer({fd, "", ""}, "");
  }
  loop_.unwatch(fd);
  const std::string line = connection.line.substr(0, newline);
  const std::size_t blank = std::min(line.find(' '), line.size());
  on_request_({fd, line.substr(0, blank), line.substr(std::min(blank + 1, line.size()))});
}

void DevControl::answer(const Request& request, const std::string& text) {
  const auto found = connections_.find(request.connection);
  if (found == connections_.end()) return;
  loop_.unwatch(request.connection);
  if (found->second.dying) loop_.unwatch(found->second.dying.get());
  static_cast<void>(send_all(request.connection, text));
  connections_.erase(found);
}

void DevControl::answer_when_dead(const Request& request, pid_t pid) {
  Connection& connection = connections_.at(request.connection);
  connection.dying.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!connection.dying) return answer(request, "ok\n");
  loop_.watch(connection.dying.get(), [this, request] { answer(request, "ok\n"); });
}

void DevControl::answer_when_ready(const Request& request, const DevNode& node) {
  connections_.at(request.connection).starting = &node;
}

void DevControl::answer_starting(const DevNode& node, const std::string& text) {
  std::vector<int> waiting;
  for (const auto& [fd, connection] : connections_) {
    if (connection.starting == &node) waiting.push_back(fd);
  }
  for (const int fd : waiting) answer({fd, "", ""}, text);
}

void DevControl::node_is_ready(const DevNode& node) {
  answer_starting(node, "ok\n");
}

void DevControl::node_has_ended(const DevNode& node) {
  answer_starting(node, "error " + node.name() + " ended: " + printable(node.last_line()) + "\n");
}

Outcome<std::string> ask_dev_cluster(const std::string& dir, const std::string& line) {
  const Address address = TRY(address_in(dir));
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), address.get(), sizeof address.name) != 0) {
    return fail_with(kExitUnavailable,
                     "no capstan dev runs in " + printable(dir) + ": " + errno_text(errno));
  }
  std::string reply;
  char block[4096];
  ssize_t got = send_all(fd.get(), line + "\n") ? 1 : 0;
  while (got > 0) {
    got = ::read(fd.get(), block, sizeof block);
    if (got > 0) reply.append(block, static_cast<std::size_t>(got));
    if (got < 0 && errno == EINTR) got = 1;
  }
  if (reply.starts_with("ok\n")) return reply.substr(3);
  if (reply.starts_with("error ")) {
    return fail_with(kExitRefused, reply.substr(6, reply.find('\n') - 6));
  }
  return fail_with(kExitUnavailable, "the capstan dev in " + printable(dir) + " is ending");
}

}  // namespace capstan::cli
