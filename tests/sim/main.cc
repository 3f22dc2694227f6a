// SPDX-License-Identifier: MIT
//
// capstan-sim: walks the whole system through random faults, one seed at a time, and says which
// seed broke a promise and how to replay it. `--mutants` shows that it can find what it looks for.
#include <boost/program_options.hpp>
#include <cstdint>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include "common/base/log.h"
#include "tests/sim/ha_walk.h"
#include "tests/sim/pair_walk.h"
#include "tests/sim/world.h"

namespace {

using capstan::AgentMutant;
using capstan::QueueMutant;
using capstan::sim::Mutants;
using capstan::sim::Outcome;
using capstan::sim::World;

struct NamedMutant {
  const char* name;
  Mutants mutants;
  bool may_survive;
};

const std::vector<NamedMutant>& all_mutants() {
  static const std::vector<NamedMutant> all{
      {"messages carry no session id", {.agent = AgentMutant::NoSessionIds}, false},
      {"a gap in n is not noticed", {.agent = AgentMutant::NoGapCheck}, false},
      {"the spool is emptied when the result is sent",
       {.agent = AgentMutant::DropSpoolEarly},
       false},
      {"a late failure counts", {.queue = QueueMutant::LateFailureCounts}, false},
      {"a lost attempt's number is given again", {.queue = QueueMutant::ReuseLostNumber}, false},
      {"a lost attempt is always adopted", {.queue = QueueMutant::ReadoptAlways}, false},
      {"a cancelled attempt is started again", {.queue = QueueMutant::RestartCancelled}, false},
      {"a new instance keeps old grants", {.queue = QueueMutant::IgnoreInstance}, false},
      {"a hand-back counts unconfirmed", {.queue = QueueMutant::HandbackUnconfirmed}, false},
      {"what is not granted is not killed", {.queue = QueueMutant::ReplyBeforeReconcile}, false},
      {"a late success cancels nothing", {.queue = QueueMutant::KeepSuperseded}, true},
  };
  return all;
}

struct Totals {
  std::uint64_t entries = 0, executions = 0, faults = 0;
};

/// 0 or the seed that failed.
std::uint64_t walk(std::uint64_t first, std::uint64_t count, Mutants mutants, Totals& totals) {
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const Outcome outcome = World(seed, mutants, false).run();
    totals.entries += outcome.entries;
    totals.executions += outcome.executions;
    totals.faults += outcome.faults;
    if (!outcome.error.empty()) {
      std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), outcome.error.c_str());
      return seed;
    }
  }
  return 0;
}

int run_mutants(std::uint64_t seeds) {
  int missed = 0;
  for (const NamedMutant& mutant : all_mutants()) {
    Totals totals;
    std::printf("mutant: %s\n  ", mutant.name);
    const std::uint64_t found = walk(1, seeds, mutant.mutants, totals);
    if (found == 0)
      std::printf("NOT FOUND in %llu seeds%s\n", static_cast<unsigned long long>(seeds),
                  mutant.may_survive ? " (may survive: repaired by the next HELLO)" : "");
    if (found == 0 && !mutant.may_survive) ++missed;
  }
  return missed == 0 ? 0 : 1;
}

int run_one(std::uint64_t seed, bool trace) {
  const Outcome outcome = World(seed, {}, trace).run();
  const Outcome again = World(seed, {}, false).run();
  std::printf(
      "seed %llu: trace %016llx, %llu entries, %llu executions, %llu faults, at rest after %.1f "
      "s%s%s\n",
      static_cast<unsigned long long>(seed), static_cast<unsigned long long>(outcome.trace_hash),
      static_cast<unsigned long long>(outcome.entries),
      static_cast<unsigned long long>(outcome.executions),
      static_cast<unsigned long long>(outcome.faults),
      static_cast<double>(outcome.settled_after.count()) / 1e6, outcome.error.empty() ? "" : ": ",
      outcome.error.c_str());
  if (outcome.trace_hash != again.trace_hash) {
    std::printf("seed %llu: NOT DETERMINISTIC\n", static_cast<unsigned long long>(seed));
    return 1;
  }
  return outcome.error.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  namespace po = boost::program_options;
  std::uint64_t seed = 1;
  std::uint64_t seeds = 1;
  std::uint64_t budget = 100;
  po::options_description options("capstan-sim: the system on a virtual clock, network and disk");
  options.add_options()("help", "this text")("seed", po::value(&seed), "the first seed")(
      "seeds", po::value(&seeds), "how many; one is run twice and must give the same trace")(
      "trace", "print what happens")("log", "print the master's log as well")(
      "mutants", "switch on each deliberate mistake; each must be found within --seeds")(
      "pair", "two masters and a witness; its mutants have budgets of their own")(
      "ha", "the failover machines alone; its mutants too")(
      "coverage", "of --pair and --ha: fail when something never happened")(
      "budget", po::value(&budget), "of --pair --mutants: percent of each budget");
  po::variables_map given;
  try {
    po::store(po::parse_command_line(argc, argv, options), given);
    po::notify(given);
  } catch (const po::error& error) {
    std::fprintf(stderr, "capstan-sim: %s\n", error.what());
    return 2;
  }
  if (given.count("help") != 0) {
    std::ostringstream text;
    text << options;
    std::printf("%s", text.str().c_str());
    return 0;
  }
  const bool verbose = given.count("log") != 0;
  capstan::log::configure(verbose ? capstan::log::Level::Debug : capstan::log::Level::Error,
                          capstan::log::Format::Text);
  const bool has_mutants = given.count("mutants") != 0;
  const bool has_trace = given.count("trace") != 0;
  const bool has_coverage = given.count("coverage") != 0;
  if (given.count("pair") != 0) {
    return has_mutants ? capstan::sim::run_pair_mutants(budget)
                       : capstan::sim::run_pair({seed, seeds, has_trace, has_coverage});
  }
  if (given.count("ha") != 0) {
    return has_mutants ? capstan::sim::run_ha_mutants()
                       : capstan::sim::run_ha({seed, seeds, has_trace, has_coverage});
  }
  if (has_mutants) return run_mutants(seeds);
  if (seeds == 1) return run_one(seed, has_trace);
  Totals totals;
  const std::uint64_t failed = walk(seed, seeds, {}, totals);
  if (failed != 0) {
    std::printf("replay: capstan-sim --seed %llu --trace\n",
                static_cast<unsigned long long>(failed));
    return 1;
  }
  std::printf("%llu seeds clean: %llu entries, %llu executions, %llu faults\n",
              static_cast<unsigned long long>(seeds),
              static_cast<unsigned long long>(totals.entries),
              static_cast<unsigned long long>(totals.executions),
              static_cast<unsigned long long>(totals.faults));
  return 0;
}
