// SPDX-License-Identifier: MIT
//
// The small languages of the command line, both ways. Pure. Errors are one line that names the
// problem and the fix.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/model/job.h"

namespace capstan {

/// `90` (seconds), `1.5s`, `250ms`, `10m`, `2h`, `1d`. Not negative.
Result<Micros> parse_duration(std::string_view text);
/// The shortest of the above that says the same: "1m30s" is not one; 90 s is "90s", 120 s "2m".
std::string duration_text(Micros d);

/// `512`, `512K`, `512M`, `2G`, `1T` (powers of 1024).
Result<std::uint64_t> parse_size(std::string_view text);

/// `1-100000`, `1-99:2`, `7`, `1-3,7,10-20:5`, each with an optional `%LIMIT` at the end.
struct ArraySpec {
  std::vector<IndexRange> indices;
  std::uint32_t max_running = 0;
};
Result<ArraySpec> parse_array(std::string_view text);

/// What a person means by `17`, `17.42`, `17.1-100`, `last`, `all`.
struct Selector {
  enum class Kind : std::uint8_t { Job = 0, Last = 1, All = 2 };
  Kind kind = Kind::Job;
  JobId job;                      ///< Kind::Job.
  std::vector<IndexRange> tasks;  ///< Empty: the whole job.
  bool operator==(const Selector&) const = default;
};
Result<Selector> parse_selector(std::string_view text);

/// RFC 3339 in UTC with milliseconds: "2026-11-21T01:02:03.004Z".
std::string rfc3339(WallTime t);

}  // namespace capstan
