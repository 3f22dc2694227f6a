// SPDX-License-Identifier: MIT
#include "tests/sim/pair_world.h"

#include <algorithm>
#include <utility>

#include "common/base/log.h"
#include "tests/sim/enrolment.h"
#include "tests/sim/timing.h"

namespace capstan::sim {

namespace {

using namespace std::chrono_literals;

constexpr Micros kCalmWrite{500us};
constexpr Epoch kBefore(256 + 1);

std::vector<Voter> the_voters() {
  return {{1, "a", false}, {2, "b", false}, {3, "w", true}};
}

std::vector<std::unique_ptr<Network>> a_network_each(Schedule& schedule, std::size_t count) {
  std::vector<std::unique_ptr<Network>> networks;
  for (std::size_t i = 0; i < count; ++i) networks.push_back(std::make_unique<Network>(schedule));
  return networks;
}

std::vector<Network*> all_of(const std::vector<std::unique_ptr<Network>>& networks) {
  std::vector<Network*> all;
  for (const auto& network : networks) all.push_back(network.get());
  return all;
}

}  // namespace

PairWorld::PairWorld(std::uint64_t seed, PairMutants mutants, bool print)
    : mutants_(mutants),
      schedule_(mix64(seed)),
      networks_(a_network_each(schedule_, the_voters().size())),
      gentle_(schedule_.rng().chance(25)),
      work_(schedule_, {.masters = {networks_[0].get(), networks_[1].get()},
                        .gentle = gentle_,
                        .lasts = kWork,
                        .mutant = mutants.agent}),
      truth_([this](std::string_view what) { count(what); }),
      parts_{.schedule = schedule_,
             .voters = the_voters(),
             .networks = {},
             .truth = truth_,
             .snapshots = snapshots_,
             .ha_mutant = mutants.ha,
             .queue_mutant = mutants.queue,
             .tells_early = mutants.tells_early,
             .count = [this](std::string_view what) { count(what); },
             .check_commit = [this](const Truth::Reign& reign,
                                    const JournalEnd& end) { return check_commit(reign, end); },
             .on_loss =
                 [this] {
                   count("fault: acknowledged entries lost by override");
                   work_.begin_anew();
                 },
             .on_vote = [this](NodeId id, const Vote& vote) { on_vote(id, vote); }},
      operator_(all_of(networks_), [this](std::string_view what) { count(what); }) {
  schedule_.set_printing(print);
  parts_.networks = all_of(networks_);
  observe_log();
  build();
}

PairWorld::~PairWorld() {
  log::observe(nullptr);
}

void PairWorld::count(std::string_view what) {
  const auto at = hits_.find(what);
  if (at != hits_.end()) {
    ++at->second;
  } else {
    hits_.emplace(what, 1);
  }
}

// Everything that the nodes note is in their logs: role changes by their sentence. Errors are told
// by whoever asked for all of the log: here somebody's disk is always lost.
void PairWorld::observe_log() {
  log::observe([this](log::Level, std::string_view event, log::Fields fields) {
    if (event != "role.changed") count(event);
    for (const log::Field& field : fields) {
      if (event == "role.changed" && field.name == "reason")
        count(std::get<std::string>(field.value));
    }
    return log::is_enabled(log::Level::Debug);
  });
}

void PairWorld::build() {
  Rng& rng = schedule_.rng();
  for (const Voter& voter : parts_.voters)
    nodes_.push_back(std::make_unique<PairNode>(parts_, voter.id));
  std::vector<net::Identity> keys;
  const std::uint64_t workers = rng.chance(10) ? 5 + rng.below(16) : 1 + rng.below(4);
  for (std::uint64_t i = 1; i <= workers; ++i) keys.push_back(Workload::worker_identity(i));
  prepare_disks(keys);
  for (const auto& each : nodes_) each->start();
  work_.add_workers(workers);
  work_.add_clients();
  work_.schedule_work();
  schedule_faults();
}

/// As a pair that was in sync, and was stopped.
void PairWorld::prepare_disks(const std::vector<net::Identity>& workers) {
  RowChanges rows;
  const store::Batch batch = enrolment(workers, {kBefore, schedule_.wall()}, rows);
  for (const auto& each : nodes_) {
    NodeDisk& disk = each->disk();
    const std::uint64_t nonce = schedule_.rng().next();
    disk.set_vote(Vote{.promised = kBefore,
                       .reg = {.epoch = kBefore, .ver = 2, .leader = 1, .isr = {1, 2}},
                       .nonce = nonce,
                       .fresh = false});
    if (each->is_witness()) continue;
    if (!disk.open(nonce)) return fail("an empty store does not open");
    const SealedBatch sealed = disk.seal(batch, rows);
    if (truth_.entries() == 0) fail(truth_.take(sealed));
    if (!disk.append(sealed, batch, rows, sealed.end.seq)) fail("the first write failed");
    disk.finish_all();
    disk.close();
  }
}

bool PairWorld::watch_until(TimePoint until, bool stop_when_settled) {
  while (error_.empty()) {
    const bool more = schedule_.step(until);
    check();
    if (stop_when_settled && is_settled()) return true;
    if (!more) return false;
  }
  return false;
}

void PairWorld::calm() {
  schedule_.trace("the faults stop");
  calm_ = true;
  for (const auto& network : networks_) network->heal();
  for (const auto& each : nodes_) {
    each->disk().set_write_max(kCalmWrite);
    each->disk().clock().set_wall_offset(Micros(0));
    each->start();
  }
  look_after();
  work_.calm();
  work_.resume_all();
}

PairOutcome PairWorld::run() {
  watch_until(schedule_.now() + kWork, false);
  const TimePoint calm_at = schedule_.now();
  if (error_.empty()) {
    calm();
    if (!watch_until(schedule_.now() + kSettle, true)) fail("not at rest: " + describe());
  }
  const Micros settled_after = schedule_.now() - calm_at;
  if (error_.empty()) check_end();
  return {{.error = error_,
           .trace_hash = schedule_.trace_hash(),
           .entries = truth_.entries(),
           .executions = work_.executions(),
           .faults = faults_,
           .settled_after = settled_after},
          hits_};
}

}  // namespace capstan::sim
