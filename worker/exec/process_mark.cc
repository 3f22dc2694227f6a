// SPDX-License-Identifier: MIT
#include "worker/exec/process_mark.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "common/base/unique_fd.h"

namespace capstan {

namespace {

constexpr std::uint64_t kHardBase = 1ULL << 62;
constexpr std::uint64_t kSoftBase = 1ULL << 61;
constexpr int kSerialBits = 21;
constexpr int kLifeBits = 40;
static_assert(ProcessMark::kSerials == 1U << kSerialBits);

struct Carrier {
  int resource;
  std::string_view line;  // As /proc/PID/limits calls it.
};
constexpr std::array<Carrier, 2> kCarriers = {
    {{RLIMIT_LOCKS, "\nMax file locks "}, {RLIMIT_RTTIME, "\nMax realtime timeout "}}};

/// FNV-1a: the same in every build, for ever.
std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return hash;
}

int free_carrier() {
  for (const Carrier& carrier : kCarriers) {
    rlimit now{};
    const auto resource = static_cast<__rlimit_resource_t>(carrier.resource);
    if (::getrlimit(resource, &now) == 0 && now.rlim_max == RLIM_INFINITY) return carrier.resource;
  }
  return -1;
}

/// The next number of a line of columns. 0: it is "unlimited", or there is none.
std::uint64_t take_number(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  text.remove_prefix(std::min(text.find(' '), text.size()));
  return error == std::errc() ? value : 0;
}

/// Behind "CAPSTAN_COOKIE=" in a process's environment.
std::string cookie_of(pid_t pid) {
  const std::string text = read_proc(pid, "environ");
  const std::string wanted = std::string(kCookieName) + "=";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\0', at), text.size());
    const std::string_view variable = std::string_view(text).substr(at, end - at);
    if (variable.starts_with(wanted)) return std::string(variable.substr(wanted.size()));
    at = end + 1;
  }
  return {};
}

}  // namespace

std::string read_proc(pid_t pid, const char* name) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + name;
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string bytes;
  if (!file) return bytes;
  constexpr std::size_t kMax = 8 * 1024 * 1024;  // An environment can be as long as the stack.
  char buffer[4096];
  while (bytes.size() < kMax) {
    const ssize_t got = ::read(file.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    bytes.append(buffer, static_cast<std::size_t>(got));
  }
  return bytes;
}

ProcessMark::ProcessMark(std::string cookie) : cookie_(std::move(cookie)) {
  const std::size_t dot = std::min(cookie_.find('.'), cookie_.size());
  any_life_ = dot == cookie_.size();
  const std::string_view text = cookie_;
  hard_ = kHardBase | (hash_of(text.substr(0, dot)) >> 2);
  const std::uint64_t life = any_life_ ? 0 : hash_of(text.substr(dot)) >> (64 - kLifeBits);
  soft_ = kSoftBase | life << kSerialBits;
  carrier_ = free_carrier();
  cookie_ += ".";
}

std::optional<ResourceLimit> ProcessMark::limit(std::uint32_t serial) const {
  if (carrier_ < 0) return std::nullopt;
  return ResourceLimit{carrier_, soft_ | serial, hard_};
}

std::optional<std::uint32_t> ProcessMark::serial_in_limits(pid_t pid) const {
  const std::string limits = read_proc(pid, "limits");
  for (const Carrier& carrier : kCarriers) {
    const std::size_t line = limits.find(carrier.line);
    if (line == std::string::npos) continue;
    std::string_view values = std::string_view(limits).substr(line + carrier.line.size());
    const std::uint64_t soft = take_number(values);
    if (take_number(values) != hard_) continue;
    const std::uint64_t serial = soft & (kSerials - 1);
    if (any_life_ || soft - serial == soft_) return static_cast<std::uint32_t>(serial);
  }
  return std::nullopt;
}

bool ProcessMark::is_on(pid_t pid) const {
  return serial_in_limits(pid).has_value() || cookie_of(pid).starts_with(cookie_);
}

std::optional<std::uint32_t> ProcessMark::serial_of(pid_t pid) const {
  return any_life_ ? std::nullopt : serial_in_limits(pid);
}

std::string ProcessMark::launch_in_environment(pid_t pid) const {
  const std::string cookie = cookie_of(pid);
  return cookie.starts_with(cookie_) ? cookie.substr(cookie_.size()) : std::string();
}

}  // namespace capstan
