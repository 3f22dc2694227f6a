// SPDX-License-Identifier: MIT
#include "common/base/log.h"

#include <fmt/format.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cmath>
#include <iterator>

#include "common/base/bytes.h"

namespace capstan::log {
namespace {

constexpr std::string_view kLevelNames[] = {"debug", "info", "warn", "error"};
constexpr std::string_view kFormatNames[] = {"text", "json"};

/// The time stamp is spdlog's, all else is ours.
constexpr const char* kTextPattern = "%Y-%m-%dT%H:%M:%S.%eZ %v";
constexpr const char* kJsonPattern = "{\"at\":\"%Y-%m-%dT%H:%M:%S.%eZ\",%v}";

/// What configure() sets. Written before any thread starts; the level alone is read by all.
struct State {
  std::atomic<Level> level{Level::Info};
  Format format = Format::Text;
  Observer observer{};
  spdlog::logger logger{"capstan", std::make_shared<spdlog::sinks::stderr_sink_mt>()};

  State() { set_format(Format::Text); }
  void set_format(Format f) {
    format = f;
    logger.set_level(spdlog::level::trace);  // We decide.
    logger.set_formatter(std::make_unique<spdlog::pattern_formatter>(
        f == Format::Text ? kTextPattern : kJsonPattern, spdlog::pattern_time_type::utc));
  }
};

State& state() {
  static State* const it = new State;  // Never destroyed: threads may log while main returns.
  return *it;
}

/// As a JSON string; what is not UTF-8 as \xNN.
void append_quoted(std::string& out, std::string_view value) {
  const std::string escaped = is_utf8(value) ? std::string(value) : printable(value);
  out += '"';
  for (const char c : escaped) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (c == '\n')
      out += "\\n";
    else if (byte < 0x20 || byte == 0x7F)
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", byte);
    else
      out += c;
  }
  out += '"';
}

bool is_plain(std::string_view value) {
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte == 0x7F || c == '"' || c == '=') return false;
  }
  return !value.empty() && is_utf8(value);
}

void append_value(std::string& out, const Field::Value& value, Format format) {
  const auto append = [&](const auto& v) {
    using T = std::decay_t<decltype(v)>;
    if constexpr (std::is_same_v<T, std::string>) {
      if (format == Format::Text && is_plain(v))
        out += v;
      else
        append_quoted(out, v);
    } else if constexpr (std::is_same_v<T, double>) {
      out += std::isfinite(v) ? fmt::format("{}", v) : std::string("null");
    } else {
      fmt::format_to(std::back_inserter(out), "{}", v);
    }
  };
  std::visit(append, value);
}

std::string text_line(std::string_view level, std::string_view event, Fields fields) {
  std::string out = fmt::format("{} {}", level, event);
  for (const Field& field : fields) {
    ((out += ' ') += field.name) += '=';
    append_value(out, field.value, Format::Text);
  }
  return out;
}

std::string json_line(std::string_view level, std::string_view event, Fields fields) {
  std::string out = fmt::format("\"level\":\"{}\",\"event\":", level);
  append_quoted(out, event);
  for (const Field& field : fields) {
    out += ',';
    append_quoted(out, field.name);
    out += ':';
    append_value(out, field.value, Format::Json);
  }
  return out;
}

void write(Level level, std::string_view event, Fields fields) {
  if (state().observer && !state().observer(level, event, fields)) return;
  if (!is_enabled(level)) return;
  const std::string_view name = kLevelNames[static_cast<std::size_t>(level)];
  const std::string line = state().format == Format::Text ? text_line(name, event, fields)
                                                          : json_line(name, event, fields);
  state().logger.log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace

Result<Level> parse_level(std::string_view text) {
  for (std::size_t i = 0; i < std::size(kLevelNames); ++i) {
    if (text == kLevelNames[i]) return static_cast<Level>(i);
  }
  return fail(Errc::Invalid, fmt::format("unknown log level '{}': use debug, info, warn or error",
                                         printable(text)));
}

Result<Format> parse_format(std::string_view text) {
  for (std::size_t i = 0; i < std::size(kFormatNames); ++i) {
    if (text == kFormatNames[i]) return static_cast<Format>(i);
  }
  return fail(Errc::Invalid,
              fmt::format("unknown log format '{}': use text or json", printable(text)));
}

void configure(Level level, Format format) {
  state().level = level;
  state().set_format(format);
}

void observe(Observer observer) {
  state().observer = std::move(observer);
}

bool is_enabled(Level level) {
  return level >= state().level.load(std::memory_order_relaxed);
}

void debug(std::string_view event, Fields fields) {
  write(Level::Debug, event, fields);
}
void info(std::string_view event, Fields fields) {
  write(Level::Info, event, fields);
}
void warn(std::string_view event, Fields fields) {
  write(Level::Warn, event, fields);
}
void error(std::string_view event, Fields fields) {
  write(Level::Error, event, fields);
}

}  // namespace capstan::log
