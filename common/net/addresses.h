// SPDX-License-Identifier: MIT
//
// "HOST:PORT" as people write it, and the names under which others can reach this machine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"

namespace capstan::net {

struct HostPort {
  std::string host;  ///< A name or a number, IPv6 without its brackets.
  std::uint16_t port = 0;
  bool operator==(const HostPort&) const = default;
};

/// "node7:7741", "10.0.0.7:7741", "[2001:db8::7]:7741". Port 0 is let through: "any free one".
/// The error names what is wrong and what would be right.
Result<HostPort> parse_address(std::string_view text);
/// The same form back, IPv6 in brackets.
std::string to_string(const HostPort& address);

/// localhost, 127.0.0.0/8, ::1: nobody else can reach it.
bool is_loopback(const std::string& host);
/// 0.0.0.0, :: or *: every address of this machine.
bool is_any_host(const std::string& host);

/// This machine's name, as `hostname` prints it; "localhost" when it has none.
std::string host_name();
/// Addresses of interfaces that are up, without loopback and link-local ones; IPv4 first.
std::vector<std::string> global_addresses();

}  // namespace capstan::net
