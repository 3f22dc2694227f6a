// SPDX-License-Identifier: MIT
//
// How an attempt's end is classed and put into words. Pure; a part of the shepherd.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/model/task.h"

namespace capstan {

enum class Oom : std::uint8_t;
struct RunEnd;

namespace ending {

/// It never ran: the program, its directory or its arguments are at fault.
[[nodiscard]] AttemptResult launch_error(const AttemptKey& key, const std::string& reason);
/// Nobody but itself (or a signal from elsewhere) ended it.
[[nodiscard]] AttemptResult by_itself(const AttemptKey& key, const RunEnd& end);

/// What its memory had to do with an end by itself. `limit` is what it asked for, or 0.
void by_memory(AttemptResult& result, std::uint64_t limit_bytes, const RunEnd& end);
/// More words, behind those that are there.
void add_note(AttemptResult& result, std::string_view note);

// What we did to it decides the class, whatever its exit code says.
void cancelled(AttemptResult& result, bool never_ran);
void superseded(AttemptResult& result);
/// The master did not know that it was here; it has to hear that the slots are free.
void not_granted(AttemptResult& result);
void timed_out(AttemptResult& result, Micros limit);
/// It wrote nothing for that long.
void stalled(AttemptResult& result, Micros limit);
/// It was seen to use more memory than it may.
void too_large(AttemptResult& result, std::uint64_t used_bytes, std::uint64_t limit_bytes);
/// Its worker was told to stop.
void left(AttemptResult& result);

/// At most kReasonBytes of valid UTF-8.
[[nodiscard]] std::string reason_text(const std::string& words);

}  // namespace ending
}  // namespace capstan
