// SPDX-License-Identifier: MIT
//
// The batch in the making, and its bounds.
#include "master/api/ledger.h"

#include <doctest/doctest.h>

#include <utility>
#include <vector>

#include "common/model/limits.h"
#include "tests/support/builders.h"
#include "tests/support/memory_store.h"

namespace capstan::test {
namespace {

using namespace std::chrono_literals;

class HandClock final : public Clock {
 public:
  [[nodiscard]] TimePoint now() const override { return {steady}; }
  [[nodiscard]] WallTime wall() const override { return {wall_us}; }
  std::int64_t steady = 0;
  std::int64_t wall_us = 1'000'000;
};

TEST_SUITE_BEGIN("master/api/ledger");

TEST_CASE("entry time begins at the wall clock and goes on by the steady one") {
  HandClock clock;
  api::Ledger ledger(Queue{}, Epoch(257), clock);
  CHECK(ledger.at() == TimePoint{1'000'000});
  clock.steady += 500;
  clock.wall_us = 5;  // Somebody set the clock: it changes nothing.
  ledger.begin_turn();
  CHECK(ledger.at() == TimePoint{1'000'500});
  CHECK(ledger.wall() == WallTime{5});
  CHECK(ledger.steady(TimePoint{1'000'600}) == TimePoint{600});
  CHECK(ledger.steady(TimePoint::never()) == TimePoint::never());
}

TEST_CASE("entry time never begins below the last entry's") {
  LoadedState state;
  state.last_at = TimePoint{9'000'000};
  HandClock clock;
  const api::Ledger ledger(Queue::load(std::move(state)), Epoch(257), clock);
  CHECK(ledger.at() == TimePoint{9'000'000});
}

TEST_CASE("a large batch is written in parts within their bound, and told whole") {
  HandClock clock;
  MemoryStore store;
  REQUIRE(store.open());
  api::Ledger ledger(Queue{}, Epoch(257), clock);
  ledger.commit(cmd::ReignBegan{"a"});
  const Asked asked{"ann", an_id(1)};
  ledger.commit(cmd::SubmissionOpened{asked, ledger.queue().next_submission(), "", Bytes(16, 'x'),
                                      a_job().with_inputs().spec()});
  const SubmissionId id = *ledger.queue().find_submission(asked);
  for (std::uint64_t part = 0; part < 6; ++part) {
    CHECK(ledger.is_full() == (part > 1));
    const std::string chunk = store::encode_inputs({Bytes(100'000, 'i')});
    ledger.commit(cmd::InputsStaged{asked, id, part, part, 1, chunk});
  }
  ledger.hold(SessionId(7), msg::Heartbeat{});
  const auto written = ledger.write(store);
  REQUIRE(written);
  CHECK(written->entries.size() == 8);
  CHECK(written->upto == Seq(8));
  CHECK(written->held.size() == 7);  // Six parts accepted, one answer.
  CHECK(ledger.durable() == Seq(8));
  CHECK(ledger.empty());
  CHECK(store.applied_seq().value() == Seq(8));
  CHECK(store.journal().size() == 8);
}

TEST_CASE("each part has its own rows, and nothing lies between a reopened job and its retry") {
  HandClock clock;
  MemoryStore store;
  REQUIRE(store.open());
  api::Ledger ledger(Queue{}, Epoch(257), clock);
  auto request = [number = 0U]() mutable { return Asked{"ann", an_id(++number)}; };
  std::vector<JobId> jobs;
  for (int i = 0; i < 2; ++i) {
    const Asked asked = request();
    JobSpec spec = a_job().spec();
    spec.script = Bytes(limits::kBatchBytes / 2, 's');
    ledger.commit(cmd::SubmissionOpened{asked, ledger.queue().next_submission(),
                                        "t" + std::to_string(i), Bytes(16, 'x'), std::move(spec)});
    jobs.push_back(ledger.queue().next_job());
    ledger.commit(cmd::JobSubmitted{asked, *ledger.queue().find_submission(asked), jobs.back(), 0});
    ledger.commit(cmd::JobCancelled{request(), jobs.back(), {}, true, "why"});
  }
  CHECK(ledger.find_row(jobs[0])->state == JobState::Cancelled);  // In an earlier part.
  CHECK(ledger.find_token("ann", "t0")->job == jobs[0]);
  CHECK(ledger.find_token("ann", "t2") == nullptr);
  CHECK(ledger.last_job_of("ann") == jobs[1]);
  CHECK_FALSE(ledger.last_job_of("bob"));
  auto written = ledger.write(store);
  REQUIRE(written);
  CHECK(written->in_tables);
  CHECK(written->rows.jobs.size() == 2);
  CHECK(ledger.find_row(jobs[0]) == nullptr);
  const auto first = store.read_batches({}, SIZE_MAX)->batches;
  REQUIRE(first.size() == 2);
  CHECK(first[0].rows_chain == Digest{});  // Nobody compares them.
  // Both do not fit into one batch, and neither is cut.
  const Asked asked = request();
  for (const JobId job : jobs) {
    ledger.commit(store.read_finished_job(job).value());
    ledger.commit(cmd::TasksRetried{asked, job, {}, UINT32_MAX, job == jobs.back()});
  }
  written = ledger.write(store);
  REQUIRE(written);
  const auto second = store.read_batches(first.back().end, SIZE_MAX)->batches;
  REQUIRE(second.size() == 2);
  for (const SealedBatch& batch : second) CHECK(batch.end.seq.value == batch.first.value + 1);
  CHECK(store.get_job(jobs[0]).value()->state == JobState::Queued);
}

TEST_CASE("answers without an entry are released as well") {
  HandClock clock;
  MemoryStore store;
  REQUIRE(store.open());
  api::Ledger ledger(Queue{}, Epoch(257), clock);
  ledger.hold(SessionId(7), msg::Heartbeat{});
  const auto written = ledger.write(store);
  REQUIRE(written);
  CHECK(written->entries.empty());
  CHECK(written->held.size() == 1);
}

TEST_CASE("a full disk is met once with the ballast, then it is the end") {
  HandClock clock;
  MemoryStore store;
  REQUIRE(store.open());
  api::Ledger ledger(Queue{}, Epoch(257), clock);
  store.fail_next(MemoryStore::Fault::DiskFull);
  ledger.commit(cmd::ReignBegan{"a"});
  REQUIRE(ledger.write(store));
  CHECK(ledger.is_draining());
  store.fail_next(MemoryStore::Fault::DiskFull);
  ledger.commit(cmd::RequestAnswered{{"ann", an_id(1)}, Errc::NotFound, "x"});
  const auto second = ledger.write(store);
  REQUIRE(!second);
  CHECK(second.error().code == Errc::DiskFull);
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
