// SPDX-License-Identifier: MIT
//
// cpp-httplib behind a small face: the only place that sees it. See http_server.h.
#include "master/web/http_server.h"

#include <mutex>
#include <thread>
#include <utility>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#include <httplib.h>
#pragma GCC diagnostic pop

namespace capstan::web {
namespace {

/// An idle loop turns at every heartbeat (2 s): five of them missed is a loop that hangs.
constexpr Micros kTurnsWithin = std::chrono::seconds(10);
constexpr int kThreads = 2;
constexpr int kReadSeconds = 5;  ///< For a request; a slow one gives its thread back.

std::string seconds_text(Micros d) {
  return std::to_string(d.count() / 1'000'000) + " s";
}

}  // namespace

Answer healthz(const StatusSnapshot* status, TimePoint now) {
  if (status == nullptr) return {503, "starting\n"};
  const Micros since = now - status->turned_at;
  if (since > kTurnsWithin)
    return {503, "the loop has not turned for " + seconds_text(since) + "\n"};
  return {200, "ok\n"};
}

Answer readyz(const StatusSnapshot* status, TimePoint now) {
  Answer answer = healthz(status, now);
  if (answer.status != 200) return answer;
  if (!status->primary) return {503, "not the primary\n"};
  if (!status->store_ok) {
    std::string text = "the store is not well\n";
    for (const Alarm& alarm : status->alarms) text += alarm.text + "\n";
    return {503, text};
  }
  return {200, "ready: primary in epoch " + std::to_string(status->epoch.value) + "\n"};
}

struct HttpServer::Impl {
  const Clock& clock;
  httplib::Server server;
  std::mutex mutex;
  std::shared_ptr<const StatusSnapshot>
      status;  // Under the mutex; what it points to never changes.
  int port = 0;
  std::thread thread;

  explicit Impl(const Clock& c) : clock(c) {}

  std::shared_ptr<const StatusSnapshot> latest() {
    const std::lock_guard lock(mutex);
    return status;
  }

  void serve(const char* path, Answer (*answer)(const StatusSnapshot*, TimePoint)) {
    server.Get(path, [this, answer](const httplib::Request&, httplib::Response& response) {
      const std::shared_ptr<const StatusSnapshot> now = latest();
      const Answer text = answer(now.get(), clock.now());
      response.status = text.status;
      response.set_header("Cache-Control", "no-store");
      response.set_content(text.text, "text/plain; charset=utf-8");
    });
  }
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::open(const Options& options, const Clock& clock) {
  auto impl = std::make_unique<Impl>(clock);
  impl->server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  impl->server.set_read_timeout(kReadSeconds);
  impl->server.set_write_timeout(kReadSeconds);
  impl->server.set_keep_alive_max_count(1);
  impl->server.set_payload_max_length(1024);
  // By default it would share the port with whoever else does.
  impl->server.set_socket_options([](socket_t fd) {
    const int yes = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  impl->serve("/healthz", healthz);
  impl->serve("/readyz", readyz);
  const bool any = options.port == 0;
  impl->port = any ? impl->server.bind_to_any_port(options.host)
                   : (impl->server.bind_to_port(options.host, options.port) ? options.port : -1);
  if (impl->port < 0)
    return fail(Errc::Io, "cannot serve HTTP on " + options.host + ":" +
                              std::to_string(options.port) + ": " + errno_text(errno) +
                              " (--http HOST:PORT, port 0 for any free one)");
  impl->thread = std::thread([server = &impl->server] { server->listen_after_bind(); });
  while (!impl->server.is_running()) std::this_thread::yield();  // Before it, stop() does nothing.
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::~HttpServer() {
  impl_->server.stop();
  impl_->thread.join();
}

void HttpServer::publish(StatusSnapshot status) {
  auto latest = std::make_shared<const StatusSnapshot>(std::move(status));
  const std::lock_guard lock(impl_->mutex);
  impl_->status.swap(latest);
}

int HttpServer::port() const {
  return impl_->port;
}

}  // namespace capstan::web
