// SPDX-License-Identifier: MIT
//
// Ids that cannot be mixed up: each is an integer of its own type.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace capstan {

/// An integer that only compares with its own kind. `value` is what is stored and sent.
template <class Tag, class Rep = std::uint64_t>
struct StrongId {
  using Value = Rep;
  Rep value{};
  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep v) : value(v) {}
  constexpr auto operator<=>(const StrongId&) const = default;
  constexpr StrongId next() const { return StrongId(static_cast<Rep>(value + 1)); }
  constexpr explicit operator bool() const { return value != 0; }
};

using JobId = StrongId<struct JobTag>;  ///< From 1; never used again.
using TaskIndex =
    StrongId<struct TaskTag, std::uint32_t>;  ///< As the user sees it: 17.42 is index 42.
using AttemptNo = StrongId<struct AttemptTag, std::uint32_t>;  ///< From 1, dense per task.
using WorkerId = StrongId<struct WorkerTag, std::uint32_t>;    ///< From 1; one key pair for ever.
using SubmissionId = StrongId<struct SubmissionTag>;           ///< A submission while it is staged.
using Seq = StrongId<struct SeqTag>;                           ///< Position in the journal, from 1.
using Epoch = StrongId<struct EpochTag>;                       ///< counter * 256 + node id.
using SessionId = StrongId<struct SessionTag>;                 ///< Grows within a master's reign.

/// 128 random bits: one life of a shepherd, a request's id, a cluster's id.
struct Uuid {
  std::array<std::uint8_t, 16> bytes{};
  constexpr auto operator<=>(const Uuid&) const = default;
  /// 32 lower-case hex digits.
  [[nodiscard]] std::string hex() const;
  /// False when all bits are zero ("none").
  [[nodiscard]] constexpr bool is_set() const { return *this != Uuid{}; }
  /// From the system's randomness. Shells only; never in a pure folder.
  static Uuid random();
};
/// 64 random bits, from there too.
std::uint64_t random_number();
using Instance = Uuid;   ///< One life of a shepherd.
using RequestId = Uuid;  ///< One mutation by a client, the same in every retry.

/// One try at one task: 17.42.2.
struct AttemptKey {
  JobId job;
  TaskIndex task;
  AttemptNo attempt;
  constexpr auto operator<=>(const AttemptKey&) const = default;
};

std::string to_string(const AttemptKey& key);      ///< "17.42.2"
std::string task_name(JobId job, TaskIndex task);  ///< "17.42"

}  // namespace capstan

template <class Tag, class Rep>
struct std::hash<capstan::StrongId<Tag, Rep>> {
  std::size_t operator()(const capstan::StrongId<Tag, Rep>& id) const noexcept {
    return std::hash<Rep>{}(id.value);
  }
};
template <>
struct std::hash<capstan::AttemptKey> {
  /// Tasks that follow each other have hashes that do, eight at a time: whoever walks through them
  /// finds them in one place of a table.
  std::size_t operator()(const capstan::AttemptKey& k) const noexcept {
    std::uint64_t eight = (k.job.value * 0x9E3779B97F4A7C15ULL) ^
                          (std::uint64_t{k.attempt.value} << 32U) ^ (k.task.value >> 3U);
    eight *= 0xBF58476D1CE4E5B9ULL;
    eight ^= eight >> 32U;
    return (eight << 3U) | (k.task.value & 7U);
  }
};
