// SPDX-License-Identifier: MIT
#include "tests/sim/world.h"

#include <algorithm>
#include <utility>

#include "tests/sim/timing.h"

namespace capstan::sim {

namespace {

using namespace std::chrono_literals;

}  // namespace

World::World(std::uint64_t seed, Mutants mutants, bool print)
    : mutants_(mutants),
      schedule_(mix64(seed)),
      network_(schedule_),
      gentle_(schedule_.rng().chance(25)),
      work_(schedule_,
            {.masters = {&network_}, .gentle = gentle_, .lasts = kWork, .mutant = mutants.agent}) {
  schedule_.set_printing(print);
  build();
}

void World::build() {
  Rng& rng = schedule_.rng();
  const std::array loss{0U, 0U, 1U, 5U, 20U};
  network_.faults() = {.lose = loss[rng.below(loss.size())],
                       .repeat = loss[rng.below(loss.size())],
                       .delay_max = schedule_.between(100us, 20ms)};
  std::vector<net::Identity> keys;
  const std::uint64_t workers = 1 + rng.below(4);
  for (std::uint64_t i = 1; i <= workers; ++i) keys.push_back(Workload::worker_identity(i));
  master_ = std::make_unique<Master>(schedule_, network_, keys, mutants_.queue);
  work_.add_workers(workers);
  work_.add_clients();
  work_.schedule_work();
  schedule_faults();
}

void World::schedule_faults() {
  const std::array counts{2U, 8U, 30U};
  const std::uint64_t faults = counts[schedule_.rng().below(counts.size())];
  for (std::uint64_t i = 0; i < faults; ++i) {
    schedule_.after(schedule_.between(0us, kWork), [this] {
      if (!calm_) one_fault();
    });
  }
}

void World::one_fault() {
  ++faults_;
  if (schedule_.rng().chance(50)) {
    process_fault();
  } else {
    network_fault();
  }
}

void World::process_fault() {
  Worker& worker = work_.any_worker();
  Client& client = work_.any_client();
  switch (schedule_.rng().below(gentle_ ? 4 : 10)) {
    case 0:
      return master_->kill(schedule_.between(100ms, 4s), false);
    case 1:
      return worker.kill_agent();
    case 2:
      return client.restart();
    case 3:
      return schedule_.shift_wall(schedule_.between(-3600s, 3600s));
    case 4:
      return master_->kill(schedule_.between(100ms, 60s), true);
    case 5:
      return worker.kill_shepherd();
    case 6:
      return worker.cut_power();
    case 7:
      return worker.stop_for(schedule_.between(1s, 50s));
    case 8:
      return worker.leave();
    default:
      worker.set_disk_full(true);
      schedule_.after(schedule_.between(1s, 20s), [&worker] { worker.set_disk_full(false); });
  }
}

void World::network_fault() {
  const std::vector<Link*> links = network_.links();
  Link& link = *links[schedule_.rng().below(links.size())];
  const Micros longest = gentle_ ? Micros(3s) : Micros(50s);
  switch (schedule_.rng().below(3)) {
    case 0:
      return network_.cut(link);
    case 1:
      network_.block(link, true);
      schedule_.after(schedule_.between(100ms, longest),
                      [this, &link] { network_.block(link, false); });
      return;
    default:
      network_.mute(link, schedule_.rng().chance(50), schedule_.rng().chance(50));
      schedule_.after(schedule_.between(100ms, longest),
                      [this, &link] { network_.mute(link, false, false); });
  }
}

void World::fail(const std::string& what) {
  if (error_.empty()) error_ = what;
}

void World::check() {
  if (std::string wrong = work_.complaint(); !wrong.empty()) fail(wrong);
  if (!master_->complaint().empty()) fail(master_->complaint());
}

bool World::is_settled() const {
  return master_->is_at_rest() && work_.is_settled();
}

bool World::watch_until(TimePoint until, bool stop_when_settled) {
  while (error_.empty()) {
    const bool more = schedule_.step(until);
    check();
    if (stop_when_settled && is_settled()) return true;
    if (!more) return false;
  }
  return false;
}

void World::calm() {
  schedule_.trace("the faults stop");
  calm_ = true;
  schedule_.correct_wall();
  network_.heal();
  master_->start();
  work_.calm();
  work_.resume_all();
}

Outcome World::run() {
  watch_until(schedule_.now() + kWork, false);
  const TimePoint calm_at = schedule_.now();
  if (error_.empty()) {
    calm();
    if (!watch_until(schedule_.now() + kSettle, true)) {
      fail("not at rest: " + master_->describe() + work_.describe());
    }
  }
  if (error_.empty()) check_end();
  return {.error = error_,
          .trace_hash = schedule_.trace_hash(),
          .entries = master_->entries(),
          .executions = work_.executions(),
          .faults = faults_,
          .settled_after = schedule_.now() - calm_at};
}

void World::check_end() {
  if (std::string wrong = work_.check_end(master_->tables()); !wrong.empty()) fail(wrong);
  if (!gentle_ || master_->has_lost_a_worker()) return;
  if (std::string wrong = work_.check_nothing_ran_again(); !wrong.empty()) fail(wrong);
}

}  // namespace capstan::sim
