// SPDX-License-Identifier: MIT
//
// `jobs`: which there are, newest first, narrowed by what the master knows of them.
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cli/access_lookup.h"
#include "cli/lists.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/when.h"
#include "common/base/print_error.h"
#include "common/json/json.h"
#include "common/model/limits.h"

namespace capstan::cli {
namespace {

constexpr std::size_t kNameColumns = 28;
constexpr std::uint32_t kJobsShown = 50;

/// How long it ran, or has been waiting to.
std::string job_span_text(const msg::JobView& job) {
  if (job.started_at.us == 0) return "-";
  const WallTime end = job.finished_at.us != 0 ? job.finished_at : SystemClock().wall();
  return span_text(Micros(std::max<std::int64_t>(end.us - job.started_at.us, 0)));
}

class JobsVerb final : public Verb {
 public:
  JobsVerb() : Verb("jobs", "list jobs, newest first", {"", 0, 0}) {
    page_.synopsis = {"capstan jobs [OPTIONS]"};
    page_.description =
        "Lists your jobs, and with an admin's key everybody's. DONE counts finished tasks, FAILED "
        "those that failed.";
    // clang-format off
    options_.add_options()
        ("live", po::bool_switch(&live_),
         "Only jobs that are not finished.")
        ("state,s", po::value(&states_)->value_name("STATE[,STATE]"),
         "Only jobs in one of these states: queued, running, paused, succeeded, failed, cancelled "
         "or skipped. Again for more.")
        ("name", po::value(&name_)->value_name("GLOB"),
         "Only jobs of such a name; * is any run of characters, ? any one.")
        ("since", po::value(&since_)->value_name("TIME"),
         "Only jobs that were submitted since then: 2h, 1d (so long ago), 2026-11-21, "
         "2026-11-21T10:30.")
        ("tag", po::value(&tag_)->value_name("TAG"),
         "Only jobs with this tag.")
        ("owner", po::value(&owner_)->value_name("USER"),
         "Only this user's jobs (others' for admins).")
        ("all", po::bool_switch(&all_),
         "However many there are; as --limit 0.")
        ("limit",
         config::parsed("limit", &limit_, config::whole(0U, 1'000'000'000U))
             ->value_name("N"),
         "At most so many (default 50; 0: all; with --json: all).")
        ("json", po::bool_switch(&json_),
         "One JSON object for each job.");
    // clang-format on
    set_examples(
        "  capstan jobs --live\n"
        "  capstan jobs --state failed,cancelled --since 1d --name 'render*'\n"
        "  capstan jobs --json | jq -r 'select(.counts.failed>0).id'\n");
    set_exits(std::string(kPlainExits));
  }

  Outcome<int> run(const Words& words) override {
    if (all_ || (json_ && !words.has("limit"))) limit_ = 0;
    msg::ListJobs list = TRY(question());
    net::EventLoop loop;
    const auto client = TRY(connect(loop, *this));
    Table table({{"JOB", true},
                 {"NAME"},
                 {"OWNER"},
                 {"STATE"},
                 {"TASKS", true},
                 {"DONE", true},
                 {"FAILED", true},
                 {"SUBMITTED"},
                 {"RAN", true}},
                colour_on_stdout());
    Output out(STDOUT_FILENO);
    std::uint64_t shown = 0;
    while (true) {
      const std::uint64_t room = limit_ == 0 ? limits::kRowsPerPage : limit_ - shown;
      list.limit = static_cast<std::uint32_t>(std::min<std::uint64_t>(room, limits::kRowsPerPage));
      const auto page = TRY(client->ask<msg::JobList>(list));
      for (const msg::JobView& job : page.jobs) add(job, table, out);
      out.write(table.page());
      TRY(out.flush());
      shown += page.jobs.size();
      if (!page.more || page.jobs.empty()) break;
      list.before = page.jobs.back().id;
      if (limit_ != 0 && shown >= limit_) {
        if (!json_) print_error("capstan jobs: there are older ones: --all shows them\n");
        break;
      }
    }
    return kExitOk;
  }

 private:
  Outcome<msg::ListJobs> question() const {
    msg::ListJobs list;
    list.live_only = live_;
    for (std::string_view rest : states_) {
      while (!rest.empty()) {
        const std::size_t comma = std::min(rest.find(','), rest.size());
        const JobState state = TRY(as_usage(parse_job_state(rest.substr(0, comma)), "--state"));
        list.states |= 1U << static_cast<unsigned>(state);
        rest.remove_prefix(std::min(comma + 1, rest.size()));
      }
    }
    list.name = name_;
    list.tag = tag_;
    list.owner = owner_;
    if (!since_.empty()) {
      list.submitted_since = TRY(as_usage(parse_since(since_, SystemClock().wall()), "--since"));
    }
    return list;
  }
  void add(const msg::JobView& job, Table& table, Output& out) const {
    if (json_) return out.write(json::line(job) + "\n");
    table.add(
        {Table::number(job.id.value),
         {shortened(printable(job.name), kNameColumns)},
         {printable(job.owner)},
         {std::string(to_string(job.state)), colour_of(job.state)},
         Table::number(job.tasks),
         Table::number(job.counts.finished()),
         {std::to_string(job.counts.failed), job.counts.failed != 0 ? Colour::Red : Colour::None},
         {local_time_text(job.submitted_at)},
         {job_span_text(job)}});
  }
  bool live_ = false;
  bool all_ = false;
  std::vector<std::string> states_;
  std::string name_, since_, tag_, owner_;
  std::uint32_t limit_ = kJobsShown;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_jobs_verb() {
  return std::make_unique<JobsVerb>();
}

}  // namespace capstan::cli
