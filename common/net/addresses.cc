// SPDX-License-Identifier: MIT
//
// Addresses as text; nothing here asks a name server.
#include "common/net/addresses.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>

namespace capstan::net {
namespace {

tl::unexpected<Error> refuse(std::string_view text, const std::string& why) {
  return fail(Errc::Invalid, "address \"" + std::string(text) + "\": " + why +
                                 "; write HOST:PORT, an IPv6 address as [ADDRESS]:PORT");
}

std::optional<in6_addr> parse_v6(const std::string& host) {
  // A link-local address may carry its interface: fe80::1%eth0.
  const std::string bare = host.substr(0, host.find('%'));
  in6_addr address{};
  if (::inet_pton(AF_INET6, bare.c_str(), &address) != 1) return std::nullopt;
  return address;
}

std::optional<std::uint32_t> parse_v4(const std::string& host) {
  in_addr address{};
  if (::inet_pton(AF_INET, host.c_str(), &address) != 1) return std::nullopt;
  return ntohl(address.s_addr);
}

/// The IPv4 address inside ::ffff:a.b.c.d.
std::uint32_t mapped_v4(const in6_addr& address) {
  std::uint32_t v4 = 0;
  std::memcpy(&v4, address.s6_addr + 12, sizeof v4);
  return ntohl(v4);
}

bool is_name(std::string_view host) {
  return std::all_of(host.begin(), host.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_';
  });
}

bool is_global_v4(std::uint32_t address) {
  const bool loopback = address >> 24 == 127;
  const bool link_local = address >> 16 == 0xA9FE;  // 169.254.0.0/16.
  return !loopback && !link_local && address != 0;
}

std::optional<std::string> global_text(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, address, sizeof v4);
    if (!is_global_v4(ntohl(v4.sin_addr.s_addr))) return std::nullopt;
    ::inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
  } else if (address->sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, address, sizeof v6);
    const in6_addr& a = v6.sin6_addr;
    if (IN6_IS_ADDR_LOOPBACK(&a) || IN6_IS_ADDR_LINKLOCAL(&a)) return std::nullopt;
    ::inet_ntop(AF_INET6, &a, text.data(), text.size());
  } else {
    return std::nullopt;
  }
  return std::string(text.data());
}

}  // namespace

Result<HostPort> parse_address(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return refuse(text, "no port");
  std::string_view host = text.substr(0, colon);
  const std::string_view port_text = text.substr(colon + 1);
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return refuse(text, "no port after the bracket");
    host = host.substr(1, host.size() - 2);
    if (!parse_v6(std::string(host))) return refuse(text, "not an IPv6 address in the brackets");
  } else if (host.empty()) {
    return refuse(text, "no host");
  } else if (host.find(':') != std::string_view::npos) {
    return refuse(text, "more than one colon");
  } else if (host != "*" && !is_name(host)) {
    return refuse(text, "not a host name or address");
  }
  unsigned port = 0;
  const char* end = port_text.data() + port_text.size();
  const auto [rest, error] = std::from_chars(port_text.data(), end, port);
  if (error != std::errc{} || rest != end || port > 65535) {
    return refuse(text, "the port is not a number up to 65535");
  }
  return HostPort{std::string(host), static_cast<std::uint16_t>(port)};
}

std::string to_string(const HostPort& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  const std::string host = v6 ? "[" + address.host + "]" : address.host;
  return host + ":" + std::to_string(address.port);
}

bool is_loopback(const std::string& host) {
  if (host == "localhost" || host.ends_with(".localhost")) return true;
  if (const auto v4 = parse_v4(host)) return *v4 >> 24 == 127;
  const auto v6 = parse_v6(host);
  if (!v6) return false;
  if (IN6_IS_ADDR_V4MAPPED(&*v6)) return mapped_v4(*v6) >> 24 == 127;
  return IN6_IS_ADDR_LOOPBACK(&*v6);
}

bool is_any_host(const std::string& host) {
  if (host == "*") return true;
  if (const auto v4 = parse_v4(host)) return *v4 == 0;
  const auto v6 = parse_v6(host);
  return v6 && IN6_IS_ADDR_UNSPECIFIED(&*v6);
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

std::vector<std::string> global_addresses() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return {};
  std::vector<std::string> found;
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || (one->ifa_flags & IFF_UP) == 0) continue;
    const auto text = global_text(one->ifa_addr);
    if (text && std::find(found.begin(), found.end(), *text) == found.end()) {
      found.push_back(*text);
    }
  }
  ::freeifaddrs(list);
  std::stable_partition(found.begin(), found.end(),
                        [](const std::string& a) { return a.find(':') == std::string::npos; });
  return found;
}

}  // namespace capstan::net
