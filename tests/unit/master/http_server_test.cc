// SPDX-License-Identifier: MIT
#include "master/web/http_server.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "common/base/unique_fd.h"

namespace capstan::test {
namespace {

using namespace std::chrono_literals;

std::string get(int port, const std::string& path) {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  const std::string request = "GET " + path + " HTTP/1.0\r\nHost: x\r\n\r\n";
  REQUIRE(::send(fd.get(), request.data(), request.size(), 0) ==
          static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0;)
    answer.append(buffer, static_cast<std::size_t>(got));
  return answer;
}

TEST_SUITE_BEGIN("master/web/http_server");

TEST_CASE("healthy while the loop turns, ready while it serves and its store is well") {
  web::StatusSnapshot status;
  status.turned_at = TimePoint{1'000'000'000};
  status.primary = true;
  status.store_ok = true;
  status.epoch = Epoch(257);
  const TimePoint soon = status.turned_at + 2s;
  const TimePoint late = status.turned_at + 11s;
  CHECK(web::healthz(nullptr, soon).status == 503);
  CHECK(web::healthz(&status, soon).status == 200);
  CHECK(web::healthz(&status, late).status == 503);
  CHECK(web::readyz(&status, soon).status == 200);
  CHECK(web::readyz(&status, late).status == 503);
  status.store_ok = false;
  status.alarms = {{"disk", "the disk is full"}};
  CHECK(web::healthz(&status, soon).status == 200);
  CHECK(web::readyz(&status, soon).status == 503);
  CHECK(web::readyz(&status, soon).text.find("the disk is full") != std::string::npos);
  status.store_ok = true;
  status.primary = false;
  CHECK(web::readyz(&status, soon).status == 503);
}

TEST_CASE("served over a socket, from the snapshot that was published last") {
  const SystemClock clock;
  auto server = web::HttpServer::open({"127.0.0.1", 0}, clock);
  REQUIRE(server);
  const int port = (*server)->port();
  CHECK(port > 0);
  CHECK(get(port, "/healthz").find(" 503 ") != std::string::npos);
  web::StatusSnapshot status;
  status.turned_at = clock.now();
  status.primary = status.store_ok = true;
  (*server)->publish(status);
  CHECK(get(port, "/healthz").find(" 200 ") != std::string::npos);
  CHECK(get(port, "/readyz").find("ready: primary") != std::string::npos);
  CHECK(get(port, "/").find(" 404 ") != std::string::npos);
  const auto second = web::HttpServer::open({"127.0.0.1", port}, clock);
  REQUIRE(!second);
  CHECK(second.error().message.find("--http") != std::string::npos);
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
