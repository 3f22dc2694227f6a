// SPDX-License-Identifier: MIT
//
// Events, one a line, on stderr: `2026-11-21T01:02:03.004Z info task.assigned task=17.42 worker=w1`
// or the same as one JSON object. Shells log; pure folders do not. Any thread.
// Field names are the same in every program (job task attempt worker request seq epoch), so that
// one grep follows a task through all processes. `error` means that an operator must act.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "common/base/error.h"

namespace capstan::log {

enum class Level : unsigned char { Debug, Info, Warn, Error };
enum class Format : unsigned char { Text, Json };

/// `debug`, `info`, `warn`, `error`; `text`, `json`. For --log-level and --log-format.
Result<Level> parse_level(std::string_view text);
Result<Format> parse_format(std::string_view text);

/// One named value of an event. Strings are escaped when they are printed.
struct Field {
  using Value = std::variant<std::int64_t, std::uint64_t, double, bool, std::string>;
  std::string_view name;
  Value value;

  Field(std::string_view n, std::string v) : name(n), value(std::move(v)) {}
  Field(std::string_view n, std::string_view v) : name(n), value(std::string(v)) {}
  Field(std::string_view n, const char* v) : name(n), value(std::string(v)) {}
  Field(std::string_view n, bool v) : name(n), value(v) {}
  Field(std::string_view n, double v) : name(n), value(v) {}
  Field(std::string_view n, int v) : name(n), value(std::int64_t{v}) {}
  Field(std::string_view n, long v) : name(n), value(std::int64_t{v}) {}
  Field(std::string_view n, long long v) : name(n), value(std::int64_t{v}) {}
  Field(std::string_view n, unsigned v) : name(n), value(std::uint64_t{v}) {}
  Field(std::string_view n, unsigned long v) : name(n), value(std::uint64_t{v}) {}
  Field(std::string_view n, unsigned long long v) : name(n), value(std::uint64_t{v}) {}
};
using Fields = std::initializer_list<Field>;

/// Once, at the start of main, before any thread.
void configure(Level level, Format format);
bool is_enabled(Level level);

/// For tests: is told of every event, of whatever level, from now on, and says whether it is to be
/// printed (if its level is); null: nobody is.
using Observer = std::function<bool(Level, std::string_view event, Fields fields)>;
void observe(Observer observer);

void debug(std::string_view event, Fields fields = {});
void info(std::string_view event, Fields fields = {});
void warn(std::string_view event, Fields fields = {});
void error(std::string_view event, Fields fields = {});

}  // namespace capstan::log
