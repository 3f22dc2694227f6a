// SPDX-License-Identifier: MIT
//
// What the nodes of the model are, have and say (failover_model.cc), and the mistakes that they
// can be told to make.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace capstan::model {

using Epoch = std::int32_t;      ///< counter * 2 + who leads in it: no two nodes share one.
using VoterSet = std::uint32_t;  ///< Bit i: voter i.

inline constexpr int kDataNodes = 2;  ///< Voters 0 and 1; the witnesses are behind them.
inline constexpr int kVotersMax = 5;
inline constexpr int kNobody = -1;
inline constexpr std::size_t kJournalMax = 12;
inline constexpr int kBagMax = 40;
inline constexpr Epoch kMillion = 1'000'000;  ///< More elections than any cluster ever has.

constexpr VoterSet only(int id) {
  return VoterSet{1} << id;
}
inline constexpr VoterSet kBoth = only(0) | only(1);
constexpr bool contains(VoterSet set, int id) {
  return (set >> id & 1U) != 0;
}
constexpr bool is_data(int id) {
  return id < kDataNodes;
}
inline constexpr int other(int id) {
  return 1 - id;
}

/// Deliberate mistakes.
enum class Mutant {
  None,
  AckBeforeShrink,
  ForgetPromises,
  ExpandFirst,
  AckBelowPromise,
  KeepDivergedTail,
  IgnoreEligibility,
  ResumeEpoch,
  AckLocally,
  ReseedOnOneWord,
  LeadWithLostDatabase,
  IgnoreLives,
  DropStandbyUnrecorded,
  OverrideWhileOn,
  OverrideAlone,
  GivenUpVoteOn,
  GiveUpInNextEpoch,
  VotelessInNextEpoch,
  JumpFromOwnKnowledge,
  FailedOverrideVotes,
  GivenUpAskedNoMore,
  SeedOfEarlierLoss,
  kCount
};
inline constexpr std::array<const char*, static_cast<std::size_t>(Mutant::kCount)> kMutantNames{
    "none",
    "a leader acknowledges alone before the shrink is recorded",
    "a voter forgets its promises",
    "the expanded isr is recorded before the standby is required",
    "a standby acknowledges appends below its promise",
    "a rejoining node keeps its diverged tail",
    "a candidate ignores eligibility",
    "a leader resumes its old epoch after a crash",
    "local durability is enough",
    "a voter is re-seeded on one leader's word",
    "a node whose database was lost may lead",
    "an append for an earlier life counts",
    "a leader without a majority drops its standby unrecorded",
    "an override while the old primary is on",
    "an override asks nobody",
    "who was given up comes back with its votes",
    "an override that gives voters up takes the next epoch",
    "an override without votes takes the next epoch",
    "an override goes by what its node knows, not by the clock",
    "an override that failed gives lost votes back",
    "who was given up is asked no more, though it votes again",
    "a re-seed counts after another loss"};

class Rng {  // splitmix64
 public:
  explicit Rng(std::uint64_t seed) : state_(seed) {}
  int below(int bound) {
    std::uint64_t mixed = state_ += 0x9E3779B97F4A7C15;
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB;
    return static_cast<int>((mixed >> 32) * static_cast<std::uint64_t>(bound) >> 32);
  }
  bool chance(int percent) { return below(100) < percent; }
  int one_of(const std::array<int, 4>& choices) { return choices[below(4)]; }

 private:
  std::uint64_t state_;
};

struct Entry {
  Epoch epoch = 0;
  int value = 0;
  bool operator==(const Entry&) const = default;
};
using Journal = std::vector<Entry>;

/// How many entries are the same in both, from the first on.
inline std::size_t common(const Journal& one, const Journal& two) {
  const auto differ = std::mismatch(one.begin(), one.end(), two.begin(), two.end());
  return static_cast<std::size_t>(differ.first - one.begin());
}

struct Register {
  Epoch epoch = 0;
  int ver = 0;
  int leader = kNobody;
  VoterSet isr = 0;
  bool operator==(const Register&) const = default;
  bool is_before(const Register& that) const {
    return std::pair(epoch, ver) < std::pair(that.epoch, that.ver);
  }
};

enum class Kind { Hello, Prepare, Promised, Accept, Accepted, Rejected, Append, Appended, Seed };
inline constexpr std::array kKindNames{"Hello",    "Prepare", "Promised", "Accept", "Accepted",
                                       "Rejected", "Append",  "Appended", "Seed"};

struct Message {
  Kind kind{};
  int from = kNobody;
  int to = kNobody;
  Epoch epoch = 0;  ///< Hello, Rejected: what the sender promised.
  Register reg{};
  Journal journal{};      ///< Append: all that the leader has.
  std::size_t upto = 0;   ///< Appended: so much of the leader's journal is durable.
  int life = 0;           ///< Hello, Appended: the sender's. Append, Seed: whom it is meant for.
  int round = 0;          ///< Append, Appended.
  bool abstains = false;  ///< Hello, Rejected.
  Epoch asked = 0;        ///< Rejected: what for.
};

/// Another voter, as a node knows it.
struct Peer {
  int life = 0;           ///< 0: not heard yet.
  int round = 0;          ///< Counts up with its lives: only answers to the last one count.
  bool abstains = false;  ///< As it said.
  bool has_promised = false;
  int accepted_ver = 0;
  bool has_abstained = false;  ///< It answered so to our candidacy, in its present life.
  int reseeded_life = 0;       ///< In that one it was given votes in this reign.
  std::size_t matched = 0;     ///< So much of our journal it has durably.
};

struct Durable {
  Epoch promised = 0;
  Register reg{.isr = kBoth};
  bool abstains = false;  ///< Its votes were lost.
  Journal journal{};
  bool is_complete = true;  ///< False: its database was lost; it may lack what it acknowledged.
};

enum class Role { Follower, Candidate, Claiming, Leader };

/// What a node forgets with each new life.
struct Volatile {
  int life = 0;
  Role role = Role::Follower;
  Epoch epoch = 0;         ///< That it stands for, or leads.
  Epoch highest_seen = 0;  ///< Somebody promised it.
  Epoch abstained = 0;     ///< Without votes: the highest that it was asked to promise.
  std::array<Peer, kVotersMax> peers{};
  Register best{};  ///< The highest that the promises told.
  bool is_override = false;
  VoterSet given_up = 0;              ///< By an operator's word: they do not count.
  Register confirmed{};               ///< As leader: a majority has it …
  std::optional<Register> pending{};  ///< … and may have this.
  bool is_joining = false;            ///< R7: the other data node is required, not yet in the isr.
  std::size_t acknowledged = 0;
  int reseeds = kNobody;  ///< R10: whom, in which life, and what all others must accept first.
  int reseeds_life = 0;
  int reseeds_ver = 0;
};

struct Node : Durable, Volatile {
  int id = 0;
  bool is_up = true;
};
using Nodes = std::array<Node, kVotersMax>;

/// What happened, by name; all of these must in a long run.
using Counts = std::map<std::string_view, long>;
inline constexpr std::array kCounted{
    "elections", "acknowledged", "acknowledged cut off", "shrinks",
    "joins",     "reseeds",      "databases lost",       "votes lost",
    "overrides", "carried on",   "lost by override",     "quorum step-downs"};

}  // namespace capstan::model
