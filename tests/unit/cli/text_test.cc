// SPDX-License-Identifier: MIT
#include "cli/text.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include "cli/lists.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "cli/output_pump.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/wait.h"
#include "common/base/unique_fd.h"

using namespace capstan;
using namespace capstan::cli;

namespace {

msg::JobView job_of(std::uint64_t tasks, std::uint64_t succeeded, std::uint64_t failed) {
  msg::JobView job;
  job.id = JobId(17);
  job.state = JobState::Running;
  job.tasks = tasks;
  job.counts.succeeded = succeeded;
  job.counts.failed = failed;
  job.counts.running = tasks - succeeded - failed;
  return job;
}

Micros seconds(double s) {
  return Micros(static_cast<std::int64_t>(s * 1e6));
}

}  // namespace

TEST_SUITE("cli/text") {
  TEST_CASE("spans are short") {
    CHECK(span_text(seconds(0.04)) == "0.0s");
    CHECK(span_text(seconds(1.26)) == "1.3s");
    CHECK(span_text(seconds(59)) == "59s");
    CHECK(span_text(seconds(65)) == "1m 05s");
    CHECK(span_text(seconds(2 * 3600 + 7 * 60 + 3)) == "2h 07m");
    CHECK(span_text(seconds(3 * 86400 + 4 * 3600)) == "3d 04h");
  }
  TEST_CASE("counts name only what there is") {
    JobCounts counts;
    counts.succeeded = 998;
    counts.failed = 2;
    CHECK(counts_text(counts) == "998 succeeded, 2 failed");
    CHECK(count_text(1, "task") == "1 task");
    CHECK(count_text(0, "task") == "0 tasks");
  }
  TEST_CASE("an end is said in words") {
    msg::TaskView task;
    task.ended = true;
    task.end = EndClass::Exit;
    task.exit_code = 3;
    CHECK(end_text(task) == "exit 3");
    task.end = EndClass::Signal;
    task.signal = 11;
    CHECK(end_text(task) == "signal 11 (Segmentation fault)");
    task.end = EndClass::LaunchError;
    task.reason = "No such file or directory";
    CHECK(end_text(task) == "launch error: No such file or directory");
    task.task = TaskIndex(42);
    task.state = TaskState::Failed;
    task.worker = "w1";
    CHECK(failure_text(JobId(17), task) ==
          "17.42 failed on w1: launch error: No such file or directory");
    task.end = EndClass::Cancelled;
    task.reason = "cancelled";
    CHECK(end_text(task) == "cancelled");
  }
  TEST_CASE("a job's end is summed up") {
    msg::JobView job = job_of(1000, 998, 2);
    job.state = JobState::Failed;
    job.submitted_at = {1'000'000};
    job.started_at = {2'000'000};
    job.finished_at = {14'000'000};
    CHECK(summary_text(job) == "job 17 failed: 998 succeeded, 2 failed in 12s");
    job = job_of(1, 1, 0);
    job.state = JobState::Succeeded;
    CHECK(summary_text(job) == "job 17 succeeded: 1 task");
  }
  TEST_CASE("colour only where it is wanted") {
    CHECK(coloured("x", Colour::Red, false) == "x");
    CHECK(coloured("x", Colour::None, true) == "x");
    CHECK(coloured("x", Colour::Red, true) == "\x1b[31mx\x1b[0m");
  }
  TEST_CASE("exit codes tell a refusal from an absence") {
    CHECK(exit_code_of(Errc::NotFound) == 3);
    CHECK(exit_code_of(Errc::NotAllowed) == 3);
    CHECK(exit_code_of(Errc::Conflict) == 3);
    CHECK(exit_code_of(Errc::Invalid) == 3);
    CHECK(exit_code_of(Errc::Unavailable) == 75);
    CHECK(exit_code_of(Errc::Timeout) == 75);
    CHECK(exit_code_of(Errc::OutcomeUnknown) == 75);
    CHECK(exit_code_of(Errc::Io) == 1);
    const auto bad = as_usage(Result<int>(tl::unexpected<Error>({Errc::Invalid, "no"})), "--x");
    REQUIRE_FALSE(bad);
    CHECK(bad.error().exit_code == 2);
    CHECK(bad.error().message == "--x: no");
  }
  TEST_CASE("the last lines of a stream") {
    CHECK(last_lines("a\nb\nc\n", 2, "| ") == "| b\n| c\n");
    CHECK(last_lines("a", 2, "") == "a\n");
    CHECK(last_lines("", 2, "") == "");
    CHECK(last_lines("a\n\nb", 9, "") == "a\n\nb\n");
    CHECK(last_lines("\x01\xff", 1, "") == "\\x01\\xff\n");
  }
}

TEST_SUITE("cli/table") {
  TEST_CASE("columns are aligned, numbers to the right") {
    Table table({{"JOB", true}, {"NAME"}, {"STATE"}}, false);
    table.add({{"7"}, {"long name"}, {"running"}});
    table.add({{"12345"}, {"x"}, {""}});
    CHECK(table.page() ==
          "  JOB  NAME       STATE\n"
          "    7  long name  running\n"
          "12345  x\n");
    CHECK(table.page() == "");
    table.add({{"1"}, {"y"}, {"z"}});
    CHECK(table.page() == "    1  y          z\n");
  }
  TEST_CASE("UTF-8 is counted by what it shows") {
    CHECK(display_width("naïve") == 5);
    CHECK(shortened("naïve", 5) == "naïve");
    CHECK(shortened("naïve", 4) == "naï…");
    CHECK(shortened("abc", 0) == "");
    Table table({{"A"}, {"B"}}, true);
    table.add({{"ï", Colour::Red}, {"x"}});
    table.add({{"xx"}, {"y"}});
    CHECK(table.page().find("\x1b[31mï\x1b[0m   x") != std::string::npos);
  }
}

TEST_SUITE("cli/progress") {
  TEST_CASE("the line has counts, rate and time left") {
    const std::string text = progress_text(job_of(1000, 409, 3), 41, 100);
    CHECK(text.find("job 17 [####") == 0);
    CHECK(text.find("]  412/1000  3 failed  588 running  41/s  14s left") != std::string::npos);
    CHECK(text.size() <= 100);
  }
  TEST_CASE("a narrow terminal goes without the bar, a tiny one is not overrun") {
    CHECK(progress_text(job_of(1000, 409, 3), 41, 60).find('[') == std::string::npos);
    CHECK(display_width(progress_text(job_of(1000, 409, 3), 41, 20)) == 20);
    CHECK(progress_text(job_of(10, 10, 0), 0, 80).find("left") == std::string::npos);
  }
  TEST_CASE("the rate is that of the last ten seconds") {
    Rate rate;
    CHECK(rate.per_second() == 0);
    rate.add({0}, 0);
    rate.add({5'000'000}, 500);
    CHECK(rate.per_second() == doctest::Approx(100));
    for (int s = 6; s <= 40; ++s) rate.add({s * 1'000'000LL}, 500);
    CHECK(rate.per_second() == doctest::Approx(0));
    rate.add({41'000'000}, 10);
    CHECK(rate.per_second() == 0);
  }
}

TEST_SUITE("cli/output") {
  TEST_CASE("lines get a prefix, however they are cut") {
    LinePrefixer lines("17.42: ");
    CHECK(lines.add("one\ntw") == "17.42: one\n");
    CHECK(lines.add("o") == "");
    CHECK(lines.add("\n\nthree") == "17.42: two\n17.42: \n");
    CHECK(lines.finish() == "17.42: three\n");
    CHECK(lines.finish() == "");
  }
  TEST_CASE("without a prefix bytes pass as they are") {
    LinePrefixer lines("");
    CHECK(lines.add("no newline") == "no newline");
    CHECK(lines.finish() == "");
  }
  TEST_CASE("an endless line is not kept for ever") {
    LinePrefixer lines("p: ");
    std::size_t out = 0;
    for (int i = 0; i < 100; ++i) out += lines.add(std::string(4096, 'x')).size();
    CHECK(out > 300'000);
  }
  TEST_CASE("every byte is written, and a full disk is told") {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const UniqueFd read_end(ends[0]);
    UniqueFd write_end(ends[1]);
    Output out(write_end.get());
    out.write("hello ");
    out.write("world");
    CHECK(out.flush());
    char block[32];
    CHECK(::read(read_end.get(), block, sizeof block) == 11);
    const UniqueFd full(::open("/dev/full", O_WRONLY));
    Output nowhere(full.get());
    nowhere.write("x");
    const auto flushed = nowhere.flush();
    REQUIRE_FALSE(flushed);
    CHECK(flushed.error().exit_code == kExitFailed);
  }
  TEST_CASE("a selection of tasks") {
    const std::vector<IndexRange> ranges{{1, 9, 2}, {20, 20, 1}};
    CHECK(is_selected(ranges, TaskIndex(3)));
    CHECK_FALSE(is_selected(ranges, TaskIndex(4)));
    CHECK(is_selected(ranges, TaskIndex(20)));
    CHECK_FALSE(is_selected(ranges, TaskIndex(21)));
    CHECK(is_selected({}, TaskIndex(21)));
  }
}
