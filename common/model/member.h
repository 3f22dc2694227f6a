// SPDX-License-Identifier: MIT
//
// Who may speak, and where a master is to be found.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"

namespace capstan {

/// What a key may do. Stored and sent: never renumber.
enum class Role : std::uint8_t {
  Admin = 1,
  User = 2,
  Worker = 3,
  Enrolment = 4,
  Master = 5,
  Witness = 6
};
std::string_view to_string(Role role);
Result<Role> parse_role(std::string_view text);

/// One master as others dial it: every address is tried in turn.
struct Member {
  std::string name;                    ///< "a"
  std::vector<std::string> addresses;  ///< "HOST:PORT"; IPv6 in brackets.
  std::string public_key;              ///< CURVE, Z85, 40 characters.
  bool operator==(const Member&) const = default;
};

/// A cluster's life: a restore from a backup starts a new one. Ordered by `began_us`.
struct Generation {
  std::int64_t began_us = 0;  ///< Wall time of its beginning.
  std::uint64_t random = 0;
  constexpr auto operator<=>(const Generation&) const = default;
};

}  // namespace capstan
