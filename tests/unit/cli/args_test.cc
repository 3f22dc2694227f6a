// SPDX-License-Identifier: MIT
#include "cli/args.h"

#include <doctest/doctest.h>

#include "cli/control.h"
#include "cli/dev.h"
#include "cli/lists.h"
#include "cli/run.h"
#include "cli/submit.h"
#include "cli/verb.h"
#include "cli/wait.h"

using namespace capstan;
using namespace capstan::cli;

namespace {

using Texts = std::vector<std::string>;

CutLine cut(const Texts& args) {
  auto line = cut_line(args);
  REQUIRE(line);
  return *line;
}

std::string error_of(Verb& verb, const Texts& args) {
  const auto words = verb.parse(cut(args));
  REQUIRE_FALSE(words);
  CHECK(words.error().exit_code == kExitUsage);
  CHECK(words.error().message.find('\n') == std::string::npos);
  return words.error().message;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_SUITE("cli/args") {
  TEST_CASE("a line is cut at the verb, the dashes and the inputs") {
    const CutLine line = cut({"--access", "f", "submit", "--cpus", "2", "--", "convert", "{}", "--",
                              "-x", ":::", "a b", "--c", "-"});
    CHECK(line.globals == Texts{"--access", "f"});
    CHECK(line.verb == "submit");
    CHECK(line.own == Texts{"--cpus", "2"});
    CHECK(line.has_command);
    CHECK(line.command == Texts{"convert", "{}", "--", "-x"});
    using Sources = std::vector<InputSource>;
    CHECK(line.sources == Sources{{InputSource::Kind::Words, false, {"a b", "--c", "-"}}});
  }
  TEST_CASE("inputs follow a command without dashes, files follow four colons") {
    const CutLine line = cut({"submit", "echo", "hi", "::::", "list.txt"});
    CHECK(line.own == Texts{"echo", "hi"});
    CHECK_FALSE(line.has_command);
    using Sources = std::vector<InputSource>;
    CHECK(line.sources == Sources{{InputSource::Kind::File, false, {"list.txt"}}});
  }
  TEST_CASE("the value of a global option is not the verb") {
    CHECK(cut({"--timeout", "jobs", "jobs"}).verb == "jobs");
    CHECK(cut({"--timeout=1", "jobs"}).verb == "jobs");
    CHECK(cut({"--help"}).verb.empty());
    CHECK(cut({}).verb.empty());
  }
  TEST_CASE("several lists are kept apart, each file is one, a plus links") {
    const CutLine line =
        cut({"submit", "x", ":::", "a", "b", "::::", "f", "g", ":::+", "c", ":::"});
    using Sources = std::vector<InputSource>;
    using Kind = InputSource::Kind;
    CHECK(line.sources == Sources{{Kind::Words, false, {"a", "b"}},
                                  {Kind::File, false, {"f"}},
                                  {Kind::File, false, {"g"}},
                                  {Kind::Words, true, {"c"}},
                                  {Kind::Words, false, {}}});
    CHECK(cut({"submit", "x", ":::", "a", "::::+", "f", "g"}).sources.back() ==
          InputSource{Kind::File, true, {"g"}});
  }
  TEST_CASE("a list that links to none, or names no file, is refused") {
    CHECK_FALSE(cut_line({"submit", "x", ":::+", "a"}));
    CHECK_FALSE(cut_line({"submit", "x", "::::+", "a"}));
    CHECK_FALSE(cut_line({"submit", "x", "::::"}));
    CHECK_FALSE(cut_line({"submit", "x", ":::", "a", "::::"}));
  }
}

TEST_SUITE("cli/verb") {
  TEST_CASE("a command begins at its first word or behind the dashes") {
    const auto plain = make_submit_verb();
    auto words = plain->parse(cut({"submit", "--cpus", "2", "-q", "ls", "-l", "--quiet"}));
    REQUIRE(words);
    CHECK(words->command == Texts{"ls", "-l", "--quiet"});
    CHECK(words->has("cpus"));
    CHECK_FALSE(words->has("name"));
    const auto dashes = make_submit_verb();
    words = dashes->parse(cut({"submit", "--", "-odd"}));
    REQUIRE(words);
    CHECK(words->command == Texts{"-odd"});
  }
  TEST_CASE("a negative priority is a value, not an option") {
    const auto verb = make_submit_verb();
    CHECK(verb->parse(cut({"submit", "--priority", "-5", "--", "x"})));
  }
  TEST_CASE("abbreviated and unknown options are refused by name") {
    CHECK(has(error_of(*make_submit_verb(), {"submit", "--arr", "1-3", "--", "x"}), "--arr"));
    CHECK(has(error_of(*make_jobs_verb(), {"jobs", "--nope"}), "--nope"));
    CHECK(has(error_of(*make_run_verb(), {"run", "--hold", "--", "x"}), "--hold"));
  }
  TEST_CASE("bad values are refused with the way out") {
    CHECK(has(error_of(*make_submit_verb(), {"submit", "--cpus", "0", "--", "x"}), "1 to"));
    CHECK(has(error_of(*make_submit_verb(), {"submit", "--cpus", "--", "x"}), "--cpus"));
    CHECK(has(error_of(*make_submit_verb(), {"submit", "--time-limit", "0", "--", "x"}),
              "--time-limit"));
    CHECK(
        has(error_of(*make_submit_verb(), {"submit", "--retries", "-1", "--", "x"}), "--retries"));
    CHECK(has(error_of(*make_jobs_verb(), {"jobs", "--timeout", "soon"}), "--timeout"));
  }
  TEST_CASE("too many or too few words are refused") {
    CHECK(has(error_of(*make_wait_verb(), {"wait"}), "ID"));
    CHECK(has(error_of(*make_tasks_verb(), {"tasks", "1", "2"}), "'2'"));
    CHECK(has(error_of(*make_jobs_verb(), {"jobs", "17"}), "'17'"));
    CHECK(has(error_of(*make_jobs_verb(), {"jobs", ":::", "a"}), ":::"));
    CHECK(has(error_of(*make_submit_verb(), {"submit", "x", "--", "y"}), "'x'"));
  }
  TEST_CASE("dev keeps its command apart from its action") {
    const auto verb = make_dev_verb();
    const auto words = verb->parse(cut({"dev", "--workers", "3", "--", "kill", "w1"}));
    REQUIRE(words);
    CHECK(words->positionals.empty());
    CHECK(words->command == Texts{"kill", "w1"});
    CHECK(dev_dir_of("/d/x/master/admin.access") == "/d/x");
  }
  TEST_CASE("every page has what a manual page needs, and prints what it parses") {
    for (const auto& make :
         {make_submit_verb, make_run_verb, make_jobs_verb, make_job_verb, make_tasks_verb,
          make_wait_verb, make_cancel_verb, make_pause_verb, make_resume_verb, make_retry_verb,
          make_workers_verb, make_status_verb, make_dev_verb}) {
      const auto verb = make();
      const std::string page = verb->help();
      CAPTURE(verb->name());
      for (const char* part : {"NAME\n", "SYNOPSIS\n", "DESCRIPTION\n", "OPTIONS\n", "EXAMPLES\n",
                               "EXIT STATUS\n", "--access", "--timeout", "--help"}) {
        CHECK(has(page, part));
      }
    }
    CHECK(has(make_submit_verb()->help(), "(default 2)"));
    CHECK(has(make_run_verb()->help(), "(default 0)"));
  }
}
