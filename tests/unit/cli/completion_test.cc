// SPDX-License-Identifier: MIT
#include "cli/completion.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "cli/verb_table.h"

using namespace capstan;
using namespace capstan::cli;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_SUITE("cli/completion") {
  TEST_CASE("every verb and every option is in every script") {
    const Verbs verbs = make_all_verbs();
    const std::string bash = bash_completion(verbs);
    const std::string zsh = zsh_completion(verbs);
    const std::string fish = fish_completion(verbs);
    for (const auto& verb : verbs) {
      CAPTURE(verb->name());
      CHECK(contains(bash, "    " + verb->name() + ")\n"));
      CHECK(contains(zsh, "    " + verb->name() + ")\n"));
      CHECK(contains(fish, "-a " + verb->name() + " -d"));
      for (const auto& option : verb->options().options()) {
        CAPTURE(option->long_name());
        CHECK(contains(bash, "--" + option->long_name()));
        CHECK(contains(zsh, "--" + option->long_name() + "["));
        CHECK(contains(fish, "-l " + option->long_name() + " "));
      }
    }
  }
  TEST_CASE("values are hinted at by their names") {
    const auto hint = [](const char* verb_name, const std::string& name) {
      const auto verb = find_verb(verb_name);
      for (const auto& option : verb->options().options()) {
        if (option->long_name() == name) return hint_of(*verb, *option);
      }
      return ValueHint{};
    };
    CHECK(hint("submit", "access").kind == ValueHint::Kind::File);
    CHECK(hint("submit", "cwd").kind == ValueHint::Kind::Directory);
    CHECK(hint("submit", "cpus").kind == ValueHint::Kind::None);
    const auto tasks = hint("tasks", "state").words;
    CHECK(std::count(tasks.begin(), tasks.end(), "backoff") == 1);
    const auto jobs = hint("jobs", "state").words;
    CHECK(std::count(jobs.begin(), jobs.end(), "paused") == 1);
  }
  TEST_CASE("the words behind a verb come from its synopsis") {
    CHECK(actions_of(*find_verb("completion")) == std::vector<std::string>{"bash", "zsh", "fish"});
    CHECK(actions_of(*find_verb("job")).front() == "priority");
    CHECK(actions_of(*find_verb("wait")).empty());
  }
}
