// SPDX-License-Identifier: MIT
#include "common/model/member.h"

#include <fmt/format.h>

#include "common/base/bytes.h"

namespace capstan {
namespace {

constexpr std::string_view kRoles[] = {"admin", "user", "worker", "enrolment", "master", "witness"};

}  // namespace

std::string_view to_string(Role role) {
  const auto number = static_cast<std::size_t>(role);
  return number >= 1 && number <= std::size(kRoles) ? kRoles[number - 1] : "unknown";
}

Result<Role> parse_role(std::string_view text) {
  for (std::size_t i = 0; i < std::size(kRoles); ++i) {
    if (text == kRoles[i]) return static_cast<Role>(i + 1);
  }
  return fail(Errc::Invalid,
              fmt::format("unknown role '{}': use {}", printable(text), fmt::join(kRoles, ", ")));
}

}  // namespace capstan
