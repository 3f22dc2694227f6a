// SPDX-License-Identifier: MIT
//
// Health over HTTP, for supervisors and load balancers: /healthz (the process lives and its loop
// turned lately) and /readyz (it serves as primary and its store is well). A thread of its own
// reads an immutable snapshot that the loop publishes, and nothing else.
#pragma once

#include <memory>
#include <string>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "master/web/status.h"

namespace capstan::web {

/// An answer to a GET.
struct Answer {
  int status = 200;
  std::string text;
};
/// `status` may be null: nothing was published yet.
[[nodiscard]] Answer healthz(const StatusSnapshot* status, TimePoint now);
[[nodiscard]] Answer readyz(const StatusSnapshot* status, TimePoint now);

class HttpServer {
 public:
  struct Options {
    std::string host = "127.0.0.1";
    int port = 0;  ///< 0: any free one.
  };
  /// Binds and serves from here on. `clock` outlives it.
  static Result<std::unique_ptr<HttpServer>> open(const Options& options, const Clock& clock);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// From the loop.
  void publish(StatusSnapshot status);
  [[nodiscard]] int port() const;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace capstan::web
