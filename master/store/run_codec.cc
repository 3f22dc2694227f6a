// SPDX-License-Identifier: MIT
//
// A byte of state, whether there are rows, and the attempts when they are few; then numbers of
// seven bits a byte, the lowest first, the last one without the high bit (LEB128): many attempts,
// the count.
#include "master/store/run_codec.h"

#include <algorithm>
#include <limits>
#include <optional>

namespace capstan::store {
namespace {

using Run = cmd::JobReopened::Run;

constexpr std::uint64_t kManyAttempts = 15;  ///< So many and more follow as a number.
constexpr unsigned kStateBits = 3;
constexpr unsigned kHasRows = 1U << kStateBits;
constexpr unsigned kAttemptsShift = kStateBits + 1;
static_assert(static_cast<unsigned>(TaskState::Skipped) < (1U << kStateBits));

std::size_t number_size(std::uint64_t number) {
  std::size_t size = 1;
  while ((number >>= 7U) != 0) ++size;
  return size;
}

void put_number(std::string& bytes, std::uint64_t number) {
  for (; number >= 0x80U; number >>= 7U) bytes += static_cast<char>(0x80U | (number & 0x7FU));
  bytes += static_cast<char>(number);
}

std::optional<std::uint64_t> take_number(std::string_view& bytes) {
  constexpr unsigned kBitsMax = 63;
  std::uint64_t number = 0;
  for (unsigned shift = 0; shift < kBitsMax && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    number |= std::uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80U) return number;
  }
  return std::nullopt;
}

std::optional<Run> take_run(std::string_view& bytes) {
  const auto head = static_cast<unsigned char>(bytes.front());
  bytes.remove_prefix(1);
  Run run;
  run.state = static_cast<TaskState>(head & (kHasRows - 1));
  run.has_rows = (head & kHasRows) != 0;
  std::uint64_t attempts = head >> kAttemptsShift;
  if (attempts == kManyAttempts) {
    const auto many = take_number(bytes);
    if (!many || *many < kManyAttempts) return std::nullopt;
    attempts = *many;
  }
  const auto count = take_number(bytes);
  using Attempts = decltype(run.attempts.value);
  if (!count || attempts > std::numeric_limits<Attempts>::max()) return std::nullopt;
  run.attempts.value = static_cast<Attempts>(attempts);
  run.count = *count;
  return run;
}

}  // namespace

std::size_t packed_size(const Run& run) {
  const bool has_many = run.attempts.value >= kManyAttempts;
  return 1 + (has_many ? number_size(run.attempts.value) : 0) + number_size(run.count);
}

std::size_t packed_size(const Runs& runs) {
  std::size_t size = 0;
  for (const Run& run : runs) size += packed_size(run);
  return size;
}

std::string packed(const Runs& runs) {
  std::string bytes;
  bytes.reserve(packed_size(runs));
  for (const Run& run : runs) {
    const std::uint64_t few = std::min<std::uint64_t>(run.attempts.value, kManyAttempts);
    bytes += static_cast<char>(static_cast<unsigned>(run.state) | (run.has_rows ? kHasRows : 0U) |
                               static_cast<unsigned>(few << kAttemptsShift));
    if (few == kManyAttempts) put_number(bytes, run.attempts.value);
    put_number(bytes, run.count);
  }
  return bytes;
}

bool unpack(std::string_view bytes, Runs& runs) {
  while (!bytes.empty()) {
    const std::optional<Run> run = take_run(bytes);
    if (!run) return false;
    runs.push_back(*run);
  }
  return true;
}

}  // namespace capstan::store
