// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "common/model/limits.h"
#include "tests/support/queue_fixture.h"

namespace capstan {
namespace {

using namespace test;
using effect::Answer;

TEST_SUITE_BEGIN("master/core/queue: submissions");

struct Staging {
  QueueFixture f;
  Asked asked = f.ask();
  SubmissionId id{1};
  void open(const std::string& token = "", const std::string& digest = "d",
            const JobBuilder& job = a_job().with_inputs()) {
    f.apply(cmd::SubmissionOpened{asked, id, token, digest, job.spec()});
  }
  auto stage(std::uint64_t part, std::uint64_t first, std::uint64_t count) {
    return f.apply(cmd::InputsStaged{asked, id, part, first, count, "chunk"});
  }
  auto close(std::uint64_t inputs) {
    return f.apply(cmd::JobSubmitted{asked, id, f.queue.next_job(), inputs});
  }
};

TEST_CASE("inputs are staged, and invisible until the close") {
  Staging s;
  s.open();
  CHECK(find_effect<effect::PartAccepted>(s.stage(0, 0, 3))->part == 0);
  CHECK(s.stage(1, 3, 4).size() == 1);
  CHECK(s.f.queue.jobs().empty());
  CHECK(s.f.tables.inputs.size() == 2);
  const auto effects = s.close(7);
  const Answer* answer = find_effect<Answer>(effects);
  REQUIRE(answer != nullptr);
  CHECK(answer->submission);
  CHECK(answer->code == Errc{});
  CHECK(answer->jobs == std::vector{JobId(1)});
  CHECK(answer->tasks == 7);
  const Job& job = s.f.job(JobId(1));
  CHECK(job.spec->indices == std::vector{IndexRange{1, 7, 1}});
  CHECK(job.inputs == SubmissionId(1));
  CHECK(job.counts.ready == 7);
  CHECK(s.f.tables.submissions.empty());
  CHECK(s.f.tables.inputs.size() == 2);
  CHECK(s.f.broken == "");
}

TEST_CASE("a repeated close gives the same answer and makes no second job") {
  Staging s;
  s.open("", "d", a_job());
  s.close(0);
  const auto again = s.close(0);
  REQUIRE(again.size() == 1);
  CHECK(find_effect<Answer>(again)->jobs == std::vector{JobId(1)});
  s.open("", "d", a_job());  // A late copy of the first message.
  CHECK(s.f.queue.submissions().empty());
  CHECK(s.f.queue.jobs().size() == 1);
  CHECK(s.f.queue.find_request(s.asked)->submission);
  CHECK(s.f.job(JobId(1)).inputs == SubmissionId());
  CHECK(s.f.broken == "");
}

TEST_CASE("a repeated part is accepted again; a gap ends the submission") {
  Staging s;
  s.open();
  s.stage(0, 0, 3);
  CHECK(find_effect<effect::PartAccepted>(s.stage(0, 0, 3))->part == 0);
  CHECK(s.f.queue.submissions().at(s.id).inputs == 3);
  const auto effects = s.stage(2, 6, 3);
  CHECK(find_effect<Answer>(effects)->code == Errc::Invalid);
  CHECK(s.f.tables.inputs.empty());
  CHECK(s.f.queue.submissions().empty());
  CHECK(find_effect<Answer>(s.stage(1, 3, 3))->code == Errc::Invalid);
  CHECK(s.f.broken == "");
}

TEST_CASE("a close that counts otherwise is refused and nothing is stored") {
  Staging s;
  s.open();
  s.stage(0, 0, 3);
  CHECK(find_effect<Answer>(s.close(4))->code == Errc::Invalid);
  CHECK(s.f.queue.jobs().empty());
  CHECK(s.f.tables.inputs.empty());
  CHECK(s.f.tables.submissions.empty());
  CHECK(s.f.queue.next_job() == JobId(1));
  CHECK(s.f.broken == "");
}

TEST_CASE("no inputs at all is refused") {
  Staging s;
  s.open();
  CHECK(find_effect<Answer>(s.close(0))->code == Errc::Invalid);
  CHECK(s.f.broken == "");
}

TEST_CASE("a dropped submission is gone, and says so") {
  Staging s;
  s.open();
  s.stage(0, 0, 3);
  CHECK(s.f.apply(cmd::SubmissionDropped{s.id}).empty());
  CHECK(s.f.tables.inputs.empty());
  CHECK(s.f.tables.submissions.empty());
  CHECK_FALSE(s.f.queue.find_submission(s.asked).has_value());
  CHECK(find_effect<Answer>(s.close(3))->code == Errc::NotFound);
  CHECK(s.f.broken == "");
}

TEST_CASE("an owner cannot open more than the limit; others can") {
  QueueFixture f;
  const auto open = [&](const std::string& owner) {
    return f.apply(
        cmd::SubmissionOpened{f.ask(owner), f.queue.next_submission(), "", "", a_job().spec()});
  };
  for (std::size_t i = 0; i < limits::kStagedPerOwner; ++i) CHECK(open("ann").empty());
  CHECK(find_effect<Answer>(open("ann"))->code == Errc::Unavailable);
  CHECK(open("bob").empty());
  CHECK(f.queue.submissions().size() == limits::kStagedPerOwner + 1);
  CHECK(f.tables.requests.empty());  // It may be tried again under the same id.
  CHECK(f.broken == "");
}

TEST_CASE("one token makes one job, even when both are on their way") {
  QueueFixture f;
  const Asked first = f.ask();
  const Asked second = f.ask();
  const Asked third = f.ask();
  f.apply(cmd::SubmissionOpened{first, SubmissionId(1), "t", "same", a_job().spec()});
  f.apply(cmd::SubmissionOpened{second, SubmissionId(2), "t", "same", a_job().spec()});
  f.apply(cmd::SubmissionOpened{third, SubmissionId(3), "t", "other", a_job().spec()});
  f.apply(cmd::JobSubmitted{first, SubmissionId(1), JobId(1), 0});
  const auto same = f.apply(cmd::JobSubmitted{second, SubmissionId(2), JobId(2), 0});
  CHECK(find_effect<Answer>(same)->jobs == std::vector{JobId(1)});
  CHECK(find_effect<Answer>(same)->submission);
  const auto other = f.apply(cmd::JobSubmitted{third, SubmissionId(3), JobId(2), 0});
  CHECK(find_effect<Answer>(other)->code == Errc::Conflict);
  CHECK(f.queue.jobs().size() == 1);
  CHECK(f.queue.next_job() == JobId(2));
  CHECK(f.queue.submissions().empty());
  CHECK(f.tables.tokens.at({"ann", "t"}).digest == "same");
  CHECK(f.queue.find_token("ann", "t")->job == JobId(1));
  CHECK(f.queue.find_token("bob", "t") == nullptr);
  CHECK(f.broken == "");
}

TEST_CASE("answers and tokens leave memory when they are old, and stay in the tables") {
  QueueFixture f;
  const Asked asked = f.ask();
  f.apply(cmd::SubmissionOpened{asked, SubmissionId(1), "t", "d", a_job().spec()});
  f.apply(cmd::JobSubmitted{asked, SubmissionId(1), JobId(1), 0});
  CHECK(f.queue.find_request(asked) != nullptr);
  f.wait(limits::kRequestsInMemoryFor);
  f.apply(cmd::ReignBegan{"a"});
  CHECK(f.queue.find_request(asked) == nullptr);
  CHECK(f.queue.find_token("ann", "t") == nullptr);
  CHECK(f.tables.requests.contains(asked));
  CHECK(f.tables.tokens.size() == 1);
  CHECK(f.broken == "");
}

TEST_CASE("a request that found nothing to do keeps its answer") {
  QueueFixture f;
  const Asked asked = f.ask();
  f.apply(cmd::RequestAnswered{asked, Errc::NotFound, "there is no job 9"});
  const auto again = f.apply(cmd::RequestAnswered{asked, Errc::Invalid, "something else"});
  CHECK(find_effect<Answer>(again)->code == Errc::NotFound);
  CHECK(find_effect<Answer>(again)->reason == "there is no job 9");
  CHECK(f.tables.requests.at(asked).code == Errc::NotFound);
  CHECK(f.broken == "");
}

TEST_CASE("inputs of a submission that is not open, or has none, are refused") {
  Staging s;
  CHECK(find_effect<Answer>(s.stage(0, 0, 3))->code == Errc::NotFound);
  Staging plain;
  plain.open("", "d", a_job());
  CHECK(find_effect<Answer>(plain.stage(0, 0, 3))->code == Errc::Invalid);
  CHECK(plain.f.queue.submissions().empty());
  CHECK(plain.f.broken == "");
}

TEST_CASE("a batch of inputs is one task, the last one may have fewer") {
  Staging s;
  s.open("", "d", a_job().with_inputs().with_batch(3));
  s.stage(0, 0, 6);
  s.stage(1, 6, 4);
  CHECK(find_effect<Answer>(s.close(10))->tasks == 4);
  CHECK(s.f.job(JobId(1)).spec->indices == std::vector{IndexRange{1, 4, 1}});
  CHECK(s.f.broken == "");
}

TEST_CASE("a part that ends within a task is the last one") {
  Staging s;
  s.open("", "d", a_job().with_inputs().with_batch(3));
  s.stage(0, 0, 4);
  CHECK(find_effect<Answer>(s.stage(1, 4, 3))->code == Errc::Invalid);
  CHECK(s.f.queue.submissions().empty());
  CHECK(s.f.tables.inputs.empty());
  CHECK(s.f.broken == "");
}

TEST_CASE("standard input is staged before the inputs, and goes with the submission") {
  Staging s;
  s.open("", "d", a_job().with_inputs().with_stdin());
  CHECK(find_effect<effect::PartAccepted>(s.stage(0, kStdinFirst, 1))->part == 0);
  CHECK(find_effect<effect::PartAccepted>(s.stage(1, kStdinFirst + 1, 1))->part == 1);
  CHECK(s.f.queue.submissions().at(s.id).inputs == 0);
  s.stage(2, 0, 5);
  CHECK(s.f.tables.inputs.size() == 3);
  CHECK(find_effect<Answer>(s.stage(3, kStdinFirst + 3, 1))->code == Errc::Invalid);
  CHECK(s.f.tables.inputs.empty());
  CHECK(s.f.broken == "");
}

TEST_CASE("a single task with standard input has a submission to read it from") {
  Staging s;
  s.open("", "d", a_job().with_stdin());
  s.stage(0, kStdinFirst, 1);
  CHECK(find_effect<Answer>(s.close(0))->tasks == 1);
  CHECK(s.f.job(JobId(1)).inputs == s.id);
  CHECK(s.f.tables.inputs.size() == 1);
  CHECK(s.f.broken == "");
}

TEST_CASE("standard input is bounded, and only for jobs that have it") {
  Staging s;
  s.open("", "d", a_job().with_stdin());
  const std::uint64_t most = limits::kStdinBytes / limits::kInputChunkBytes;
  for (std::uint64_t part = 0; part < most; ++part) {
    CHECK(find_effect<effect::PartAccepted>(s.stage(part, kStdinFirst + part, 1)) != nullptr);
  }
  CHECK(find_effect<Answer>(s.stage(most, kStdinFirst + most, 1))->code == Errc::Invalid);
  Staging plain;
  plain.open();
  CHECK(find_effect<Answer>(plain.stage(0, kStdinFirst, 1))->code == Errc::Invalid);
  CHECK(plain.f.broken == "");
}

TEST_CASE("a job on hold is paused until it is resumed") {
  QueueFixture f;
  const JobId job = f.submit(a_job().with_tasks(5).on_hold());
  CHECK(f.job(job).state() == JobState::Paused);
  CHECK(f.job(job).counts.ready == 5);
  CHECK(f.queue.ready_jobs().empty());
  f.apply(cmd::JobResumed{f.ask(), job, true});
  CHECK(f.job(job).state() == JobState::Queued);
  CHECK(f.queue.ready_jobs().size() == 1);
  CHECK(f.broken == "");
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan
