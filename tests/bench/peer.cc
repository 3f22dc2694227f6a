// SPDX-License-Identifier: MIT
//
// What scripts/bench measures Capstan against, each in its fastest form:
//
//   bench-peer spawn N FLIGHT PROGRAM      a bare posix_spawn loop: the limit of the machine
//   bench-peer gearman-work PORT PROGRAM   spawns for each job until one says "stop"
//   bench-peer gearman-put PORT N STOPS    N background jobs, pipelined, then STOPS times "stop"
//   bench-peer beanstalk-work PORT PROGRAM
//   bench-peer beanstalk-put PORT N STOPS
//
// The protocols are spoken directly: both are simple enough, and a library would only add to them.
// What is finished and what is wanted next share one write.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

extern char** environ;

namespace {

constexpr std::string_view kStop = "stop";

[[noreturn]] void give_up(const char* doing) {
  std::fprintf(stderr, "bench-peer: %s: %s\n", doing, std::strerror(errno));
  std::exit(1);
}

pid_t spawn(const char* program) {
  char* const argv[] = {const_cast<char*>(program), nullptr};
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, program, nullptr, nullptr, argv, environ);
  if (error != 0) {
    errno = error;
    give_up(program);
  }
  return pid;
}

void run(const char* program) {
  const pid_t pid = spawn(program);
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid) give_up("waiting");
}

int spawn_loop(long count, long flight, const char* program) {
  long started = 0;
  for (; started < flight && started < count; ++started) spawn(program);
  for (long ended = 0; ended < count; ++ended) {
    int status = 0;
    if (::waitpid(-1, &status, 0) < 0) give_up("waiting");
    if (started < count) {
      spawn(program);
      ++started;
    }
  }
  return 0;
}

class Connection {
 public:
  explicit Connection(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) give_up("connecting");
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { ::close(fd_); }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0) give_up("sending");
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  /// Exactly so many bytes.
  std::string take(std::size_t count) {
    while (in_.size() - at_ < count) fill();
    std::string taken = in_.substr(at_, count);
    at_ += count;
    return taken;
  }
  /// Up to CR LF, which is dropped.
  std::string line() {
    std::size_t end = 0;
    while ((end = in_.find("\r\n", at_)) == std::string::npos) fill();
    std::string taken = in_.substr(at_, end - at_);
    at_ = end + 2;
    return taken;
  }

 private:
  void fill() {
    if (at_ > 0) in_.erase(0, at_);
    at_ = 0;
    char buffer[64 * 1024];
    const ssize_t got = ::recv(fd_, buffer, sizeof buffer, 0);
    if (got <= 0) give_up("receiving");
    in_.append(buffer, static_cast<std::size_t>(got));
  }

  int fd_;
  std::string in_;
  std::size_t at_ = 0;
};

// --- gearman: \0REQ or \0RES, type and length as big-endian 32 bits, fields between NULs ---------

enum Gearman : std::uint32_t {
  kCanDo = 1,
  kPreSleep = 4,
  kNoop = 6,
  kJobCreated = 8,
  kGrabJob = 9,
  kNoJob = 10,
  kJobAssign = 11,
  kWorkComplete = 13,
  kSubmitJobBg = 18,
};

std::string packet(Gearman type, std::string_view body) {
  const std::uint32_t head[] = {htonl(type), htonl(static_cast<std::uint32_t>(body.size()))};
  std::string bytes("\0REQ", 4);
  bytes.append(reinterpret_cast<const char*>(head), sizeof head);
  bytes.append(body);
  return bytes;
}

Gearman receive(Connection& server, std::string& body) {
  const std::string head = server.take(12);
  std::uint32_t words[2];
  std::memcpy(words, head.data() + 4, sizeof words);
  body = server.take(ntohl(words[1]));
  return static_cast<Gearman>(ntohl(words[0]));
}

int gearman_work(int port, const char* program) {
  Connection server(port);
  server.send(packet(kCanDo, "bench") + packet(kGrabJob, ""));
  std::string body;
  for (;;) {
    switch (receive(server, body)) {
      case kJobAssign: {
        const std::string handle = body.substr(0, body.find('\0'));
        const bool is_over = body.ends_with(kStop);
        if (!is_over) run(program);
        server.send(packet(kWorkComplete, handle + '\0') +
                    (is_over ? std::string() : packet(kGrabJob, "")));
        if (is_over) return 0;
        break;
      }
      case kNoJob:
        server.send(packet(kPreSleep, ""));
        break;
      case kNoop:
        server.send(packet(kGrabJob, ""));
        break;
      default:
        break;
    }
  }
}

int gearman_put(int port, long count, long stops) {
  Connection server(port);
  constexpr long kPipelined = 256;
  std::string body;
  long created = 0;
  const auto hear = [&] {
    while (receive(server, body) != kJobCreated) continue;
    ++created;
  };
  for (long i = 0; i < count + stops; ++i) {
    const std::string unique = std::to_string(i);
    std::string fields = "bench";
    fields += '\0' + unique + '\0';
    fields += i < count ? unique : std::string(kStop);
    server.send(packet(kSubmitJobBg, fields));
    if (i - created >= kPipelined) hear();
  }
  while (created < count + stops) hear();
  return 0;
}

// --- beanstalkd: lines ---------------------------------------------------------------------------

int beanstalk_work(int port, const char* program) {
  Connection server(port);
  server.send("reserve\r\n");
  for (;;) {
    std::string line = server.line();
    if (!line.starts_with("RESERVED ")) continue;  // DELETED: what was sent before.
    const std::size_t space = line.find(' ', 9);
    const std::string id = line.substr(9, space - 9);
    const std::string body = server.take(std::stoul(line.substr(space + 1)) + 2);
    const bool is_over = body.starts_with(kStop);
    if (!is_over) run(program);
    server.send("delete " + id + (is_over ? "\r\n" : "\r\nreserve\r\n"));
    if (!is_over) continue;
    while (server.line() != "DELETED") continue;
    return 0;
  }
}

int beanstalk_put(int port, long count, long stops) {
  Connection server(port);
  constexpr long kPipelined = 64;
  long stored = 0;
  const auto hear = [&] {
    while (!server.line().starts_with("INSERTED ")) continue;
    ++stored;
  };
  for (long i = 0; i < count + stops; ++i) {
    // "stop" comes last: of the same priority the oldest is given out first.
    const std::string body = i < count ? std::to_string(i) : std::string(kStop);
    server.send("put 0 0 600 " + std::to_string(body.size()) + "\r\n" + body + "\r\n");
    if (i - stored >= kPipelined) hear();
  }
  while (stored < count + stops) hear();
  return 0;
}

long number(const char* text) {
  long value = 0;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
  if (error != std::errc{} || *end != '\0' || value < 0) {
    std::fprintf(stderr, "bench-peer: %s is not a number\n", text);
    std::exit(2);
  }
  return value;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (argc == 5 && verb == "spawn") return spawn_loop(number(argv[2]), number(argv[3]), argv[4]);
  const int port = argc > 2 ? static_cast<int>(number(argv[2])) : 0;
  if (argc == 4 && verb == "gearman-work") return gearman_work(port, argv[3]);
  if (argc == 4 && verb == "beanstalk-work") return beanstalk_work(port, argv[3]);
  if (argc == 5 && verb == "gearman-put")
    return gearman_put(port, number(argv[3]), number(argv[4]));
  if (argc == 5 && verb == "beanstalk-put")
    return beanstalk_put(port, number(argv[3]), number(argv[4]));
  std::fprintf(stderr, "usage: see the head of tests/bench/peer.cc\n");
  return 2;
}
