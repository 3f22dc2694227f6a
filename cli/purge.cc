// SPDX-License-Identifier: MIT
#include "cli/purge.h"

#include <fmt/format.h>
#include <unistd.h>

#include <iostream>

#include "cli/access_lookup.h"
#include "cli/job_watch.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/base/print_error.h"
#include "common/model/parse.h"

namespace capstan::cli {
namespace {

class PurgeVerb final : public Verb {
 public:
  PurgeVerb() : Verb("purge", "delete old finished jobs", {"", 0, 0}) {
    page_.synopsis = {"capstan purge [OPTIONS]"};
    page_.description =
        "Deletes your finished jobs that ended long ago, with their output, inputs and tokens; "
        "with an admin's key everybody's. Jobs that live ones wait for (--after) stay. What was "
        "deleted cannot be had back. The master does the same by itself: see capstan-master "
        "--retain.";
    // clang-format off
    options_.add_options()
        ("older-than",
         config::parsed("older-than", &older_than_, parse_duration)->value_name("DURATION"),
         "Only what ended so long ago (default 7d).")
        ("yes,y", po::bool_switch(&yes_),
         "Do not ask.")
        ("json", po::bool_switch(&json_),
         "Print {\"tasks\":3,\"note\":\"2 jobs\"}.");
    // clang-format on
    set_examples("  capstan purge --older-than 30d\n  capstan purge --older-than 1h --yes\n");
    set_exits(std::string(kPlainExits));
  }

  Outcome<int> run(const Words&) override {
    if (!yes_ && !TRY(is_confirmed())) return kExitFailed;
    net::EventLoop loop;
    const auto client = TRY(connect(loop, *this));
    const msg::Done done = TRY(client->change(msg::Purge{{}, older_than_}));
    Output out(STDOUT_FILENO);
    if (json_)
      out.write(fmt::format("{{\"tasks\":{},\"note\":\"{}\"}}\n", done.tasks, done.note));
    else
      out.write(fmt::format("deleted: {} with {}\n", printable(done.note),
                            count_text(done.tasks, "task")));
    TRY(out.flush());
    return kExitOk;
  }

 private:
  [[nodiscard]] Outcome<bool> is_confirmed() const {
    if (::isatty(STDIN_FILENO) == 0)
      return usage_error("deletes for good: say so with --yes (or answer on a terminal)");
    print_error("Delete finished jobs that ended more than {} ago? [y/N] ",
                duration_text(older_than_));
    std::string answer;
    std::getline(std::cin, answer);
    return answer == "y" || answer == "yes";
  }

  Micros older_than_{std::chrono::days(7)};
  bool yes_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_purge_verb() {
  return std::make_unique<PurgeVerb>();
}

Outcome<int> delete_jobs(const Verb& verb, const DeleteOptions& options) {
  if (options.ids.empty()) return usage_error("delete needs at least one ID");
  const auto targets = TRY(parse_selectors(options.ids));
  net::EventLoop loop;
  const auto client = TRY(connect(loop, verb));
  const msg::Done done = TRY(client->control(msg::Verb::Delete, targets));
  std::string text;
  for (const JobId job : done.jobs)
    text += options.json ? fmt::format("{}{}", text.empty() ? "" : ",", job.value)
                         : fmt::format("job {}: deleted\n", job.value);
  if (options.json) text = fmt::format("{{\"jobs\":[{}],\"tasks\":{}}}\n", text, done.tasks);
  Output out(STDOUT_FILENO);
  out.write(text);
  TRY(out.flush());
  return kExitOk;
}

}  // namespace capstan::cli
