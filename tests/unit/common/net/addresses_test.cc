// SPDX-License-Identifier: MIT
#include "common/net/addresses.h"

#include <doctest/doctest.h>

namespace capstan::net {

TEST_SUITE("common/net/addresses") {
  TEST_CASE("addresses are read and written back") {
    for (const char* text : {"127.0.0.1:7741", "node-7.example_x.org:1", "[::1]:7741", "[::]:0",
                             "*:65535", "[2001:db8::7]:80"}) {
      CAPTURE(text);
      const auto address = parse_address(text);
      REQUIRE(address);
      CHECK(to_string(*address) == text);
    }
    CHECK(*parse_address("[2001:db8::7]:80") == HostPort{"2001:db8::7", 80});
  }

  TEST_CASE("what is no address is refused with the right form") {
    for (const char* text :
         {"", "host", ":7741", "host:", "host:http", "host:65536", "host:-1", "host:7 ", "::1:7741",
          "[::1]", "[::1:7741", "[host]:7741", "a b:1", "tcp://a:1", "a/b:1"}) {
      CAPTURE(text);
      const auto address = parse_address(text);
      REQUIRE_FALSE(address);
      CHECK(address.error().code == Errc::Invalid);
      CHECK(address.error().message.find("HOST:PORT") != std::string::npos);
    }
  }

  TEST_CASE("loopback and any-host are told apart from the rest") {
    for (const char* host : {"localhost", "127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1"}) {
      CAPTURE(host);
      CHECK(is_loopback(host));
      CHECK_FALSE(is_any_host(host));
    }
    for (const char* host : {"0.0.0.0", "::", "*"}) {
      CAPTURE(host);
      CHECK(is_any_host(host));
      CHECK_FALSE(is_loopback(host));
    }
    for (const char* host : {"10.0.0.1", "node7", "2001:db8::1", "::ffff:10.0.0.1", "128.0.0.1"}) {
      CAPTURE(host);
      CHECK_FALSE(is_loopback(host));
      CHECK_FALSE(is_any_host(host));
    }
  }

  TEST_CASE("this machine has a name, and no address of it is private to it") {
    CHECK_FALSE(host_name().empty());
    for (const std::string& address : global_addresses()) {
      CAPTURE(address);
      CHECK_FALSE(is_loopback(address));
      CHECK(parse_address(to_string(HostPort{address, 1})));
    }
  }
}

}  // namespace capstan::net
