// SPDX-License-Identifier: MIT
#include "worker/core/ending.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "common/base/bytes.h"
#include "common/model/limits.h"
#include "common/model/parse.h"
#include "worker/core/shepherd.h"

namespace capstan::ending {

namespace {

/// "1.2G": rounded up, so that what is above a limit looks so.
std::string size_text(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"", "K", "M", "G", "T"};
  std::uint64_t tenths = bytes * 10;
  std::size_t unit = 0;
  while (tenths >= 10 * 1024 && unit + 1 < std::size(kUnits)) {
    tenths = (tenths + 1023) / 1024;
    ++unit;
  }
  std::string text = std::to_string(tenths / 10);
  if (tenths % 10 != 0) text += "." + std::to_string(tenths % 10);
  return text + kUnits[unit];
}

}  // namespace

std::string reason_text(const std::string& words) {
  std::string text = is_utf8(words) ? words : printable(words);
  if (text.size() <= limits::kReasonBytes) return text;
  std::size_t end = limits::kReasonBytes;
  const auto is_continuation = [&text](std::size_t at) {
    return (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
  };
  while (end > 0 && is_continuation(end)) --end;  // Never in the middle of a character.
  text.resize(end);
  return text;
}

AttemptResult launch_error(const AttemptKey& key, const std::string& reason) {
  AttemptResult result;
  result.key = key;
  result.end = EndClass::LaunchError;
  result.reason = reason_text(reason);
  return result;
}

AttemptResult by_itself(const AttemptKey& key, const RunEnd& end) {
  AttemptResult result;
  result.key = key;
  result.exit_code = end.exit_code;
  result.signal = end.signal;
  result.cpu = end.cpu;
  result.max_rss_bytes = end.max_rss_bytes;
  result.stdout_bytes = end.output_bytes[0];
  result.stderr_bytes = end.output_bytes[1];
  result.stdout_tail = end.tail[0];
  result.stderr_tail = end.tail[1];
  if (end.signal != 0) {
    const char* name = sigabbrev_np(end.signal);
    result.end = EndClass::Signal;
    result.reason = name != nullptr ? std::string("killed by SIG") + name
                                    : "killed by signal " + std::to_string(end.signal);
  } else if (end.exit_code != 0) {
    result.end = EndClass::Exit;
  }
  return result;
}

void by_memory(AttemptResult& result, std::uint64_t limit_bytes, const RunEnd& end) {
  if (end.oom != Oom::None) {
    result.end = EndClass::Oom;
    const std::string asked = size_text(limit_bytes) + " it asked for";
    result.reason = end.oom == Oom::OwnLimit
                        ? "the kernel killed it: it used all of the " + asked
                        : "the kernel killed it: no memory was left around it, within the " + asked;
    return;
  }
  if (limit_bytes == 0 || result.max_rss_bytes <= std::max(limit_bytes, end.rss_floor_bytes))
    return;
  if (result.end == EndClass::Signal) return too_large(result, result.max_rss_bytes, limit_bytes);
  add_note(result, "used " + size_text(result.max_rss_bytes) + " of the " + size_text(limit_bytes) +
                       " it asked for");
}

void add_note(AttemptResult& result, std::string_view note) {
  if (note.empty()) return;
  std::string words = result.reason.str();
  if (!words.empty()) words += "; ";
  result.reason = reason_text(words.append(note));
}

void cancelled(AttemptResult& result, bool never_ran) {
  result.end = EndClass::Cancelled;
  result.reason = never_ran ? "cancelled before it started" : "cancelled";
}

void superseded(AttemptResult& result) {
  result.end = EndClass::Superseded;
  result.reason = "another attempt succeeded";
}

void not_granted(AttemptResult& result) {
  result.end = EndClass::Cancelled;
  result.reason = "not granted to this worker any more";
}

void timed_out(AttemptResult& result, Micros limit) {
  result.end = EndClass::Timeout;
  result.reason = "ran longer than its time limit of " + duration_text(limit);
}

void stalled(AttemptResult& result, Micros limit) {
  result.end = EndClass::Stall;
  result.reason = "wrote nothing for " + duration_text(limit) + ", its stall limit";
}

void too_large(AttemptResult& result, std::uint64_t used_bytes, std::uint64_t limit_bytes) {
  result.end = EndClass::Oom;
  result.reason =
      "used " + size_text(used_bytes) + " of the " + size_text(limit_bytes) + " it asked for";
}

void left(AttemptResult& result) {
  result.end = EndClass::WorkerLost;
  result.reason = "its worker was stopped";
}

}  // namespace capstan::ending
