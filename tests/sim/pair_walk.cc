// SPDX-License-Identifier: MIT
#include "tests/sim/pair_walk.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "master/ha/transitions.h"
#include "tests/sim/pair_world.h"

namespace capstan::sim {

namespace {

using ull = unsigned long long;

constexpr std::array kMustHappen{
    "fault: node killed",
    "fault: node without power",
    "fault: node stopped",
    "fault: died in a write",
    "fault: a write failed",
    "fault: slow write",
    "fault: wall clock set",
    "fault: database lost",
    "fault: database rolled back",
    "fault: votes lost",
    "fault: snapshot fails",
    "fault: other rows",
    "fault: one way lost",
    "fault: cut, silent",
    "fault: cut, closed",
    "fault: node isolated",
    "fault: all outgoing lost",
    "fault: connection closed",
    "fault: connection blocked",
    "fault: connection mute",
    "fault: network clogged",
    "fault: agent killed",
    "fault: shepherd killed",
    "fault: worker without power",
    "fault: worker stopped",
    "fault: worker leaves",
    "fault: worker's disk full",
    "fault: client restarted",
    "fault: acknowledged entries lost by override",
    "operator: fails over",
    "operator: overrides",
    "operator: reseeds",
    "operator: sets min_copies",
    "operator: done",
    "operator: refused",
    "hello: goes on",
    "hello: started again",
    "hello: killed",
    "hello: adopted again",
    "hello: lost with an earlier instance",
    "hello: cancelled again",
    "hello: cancelled, never had",
    "hello: recalled again",
    "a new life",
    "snapshot installed",
    "snapshot.needed",
    "snapshot.begun",
    "snapshot.fetched",
    "snapshot.failed",
    "isr.shrunk",
    "isr.grown",
    "votes.lost",
    "votes.reseeded",
    "failover.overridden",
    "journal.truncated",
    "database.complete",
    "replica.diverged",
    "peer.diverged",
};

struct NamedPairMutant {
  const char* name;
  PairMutants mutants;
  std::uint64_t budget;  ///< Seeds.
  bool may_survive = false;
};

const std::vector<NamedPairMutant>& all_mutants() {
  static const std::vector<NamedPairMutant> all{
      {"acknowledges alone before the shrink is recorded",
       {.ha = ha::Mutant::AckBeforeShrink},
       500},
      {"a voter forgets its promises", {.ha = ha::Mutant::ForgetPromises}, 500},
      {"the expanded isr is published before the standby is required",
       {.ha = ha::Mutant::ExpandFirst},
       500},
      {"a standby acknowledges appends below its promise",
       {.ha = ha::Mutant::AckBelowPromise},
       500,
       true},  // Found by no walk yet: it takes a leader that is deposed between two appends.
      {"a rejoining node keeps its diverged tail", {.ha = ha::Mutant::KeepDivergedTail}, 500},
      {"a candidate ignores eligibility", {.ha = ha::Mutant::IgnoreEligibility}, 500},
      {"a leader resumes its old epoch after a crash", {.ha = ha::Mutant::ResumeEpoch}, 500},
      {"local durability is enough", {.ha = ha::Mutant::AckLocally}, 500},
      {"a voter is re-seeded on one leader's word", {.ha = ha::Mutant::ReseedOnOneWord}, 100, true},
      {"a node whose database was lost may lead", {.ha = ha::Mutant::LeadWithLostDatabase}, 2500},
      {"an append for an earlier life counts", {.ha = ha::Mutant::IgnoreLives}, 500},
      {"acknowledges before the commit", {.tells_early = true}, 500},
      {"the spool is emptied when the result is sent", {.agent = AgentMutant::DropSpoolEarly}, 500},
      {"a stale instance's results count", {.queue = QueueMutant::IgnoreInstance}, 500},
  };
  return all;
}

/// What should happen in many seeds: all but that a primary is told to give up voters, which takes
/// two lost votes and an operator in one moment. The walk of the machines alone has it.
std::vector<std::string> expected_of_pairs(const Run& run) {
  std::vector<std::string> expected;
  for (const ha::Transition& row : ha::transitions()) {
    const bool is_told_to_primary =
        row.from == ha::Role::Leader && row.cause == ha::Cause::Override;
    if (!is_told_to_primary && is_expected(row, run)) expected.emplace_back(row.sentence);
  }
  expected.insert(expected.end(), kMustHappen.begin(), kMustHappen.end());
  return expected;
}

/// Once more, for its trace: equal when nothing but the seed decides.
bool is_deterministic(std::uint64_t seed, const PairOutcome& outcome) {
  return PairWorld(seed, {}, false).run().trace_hash == outcome.trace_hash;
}

/// Of a walk that takes some milliseconds: nodes that ask each other the same for ever.
constexpr unsigned kSeedSeconds = 10;

/// In a process of its own: the product's own invariants may be the first to notice.
bool is_found(const NamedPairMutant& mutant, std::uint64_t budget) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    for (std::uint64_t seed = 1; seed <= budget; ++seed) {
      ::alarm(kSeedSeconds);
      const std::string error = PairWorld(seed, mutant.mutants, false).run().error;
      if (error.empty()) continue;
      std::printf("found   %-58s seed %llu: %s\n", mutant.name, ull{seed}, error.c_str());
      std::fflush(stdout);
      std::_Exit(0);
    }
    std::_Exit(1);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return false;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) {
    std::printf("found   %-58s a CHECK of the product, above\n", mutant.name);
    return true;
  }
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
    std::printf("found   %-58s a walk that does not come to an end\n", mutant.name);
    return true;
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

int run_pair(const Run& run) {
  PairOutcome sum;
  Micros longest{0};
  for (std::uint64_t seed = run.first; seed < run.first + run.seeds; ++seed) {
    PairOutcome outcome = PairWorld(seed, {}, run.trace).run();
    if (run.seeds == 1 && !is_deterministic(seed, outcome)) outcome.error = "NOT DETERMINISTIC";
    if (!outcome.error.empty()) {
      std::printf("seed %llu: %s\nreplay: capstan-sim --pair --seed %llu --trace\n", ull{seed},
                  outcome.error.c_str(), ull{seed});
      return 1;
    }
    sum.entries += outcome.entries;
    sum.executions += outcome.executions;
    sum.faults += outcome.faults;
    longest = std::max(longest, outcome.settled_after);
    for (const auto& [what, times] : outcome.hits) sum.hits[what] += times;
  }
  std::printf(
      "%llu seeds clean: %llu entries, %llu executions, %llu faults; at rest after %.1f s at "
      "most\n",
      ull{run.seeds}, ull{sum.entries}, ull{sum.executions}, ull{sum.faults},
      static_cast<double>(longest.count()) / 1e6);
  return !run.coverage || report_coverage(sum.hits, expected_of_pairs(run)) ? 0 : 1;
}

int run_pair_mutants(std::uint64_t percent) {
  int missed = 0;
  for (const NamedPairMutant& mutant : all_mutants()) {
    const std::uint64_t budget = std::max<std::uint64_t>(mutant.budget * percent / 100, 1);
    if (is_found(mutant, budget)) continue;
    std::printf("%s %-58s in %llu seeds\n", mutant.may_survive ? "lives  " : "MISSED ", mutant.name,
                ull{budget});
    if (!mutant.may_survive) ++missed;
  }
  return missed == 0 ? 0 : 1;
}

}  // namespace capstan::sim
