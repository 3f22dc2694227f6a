// SPDX-License-Identifier: MIT
#include "cli/settings.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "cli/config.h"
#include "cli/verb_table.h"
#include "tests/support/temp_dir.h"

using namespace capstan;
using namespace capstan::cli;

namespace {

/// A home with a configuration file, for as long as it lives.
class Home {
 public:
  explicit Home(const std::string& text) {
    std::filesystem::create_directory(dir_.file("capstan"));
    std::ofstream(dir_.file("capstan/config")) << text;
    if (const char* before = std::getenv("XDG_CONFIG_HOME")) before_ = before;
    ::setenv("XDG_CONFIG_HOME", dir_.path().c_str(), 1);
  }
  ~Home() {
    ::unsetenv("XDG_CONFIG_HOME");
    if (!before_.empty()) ::setenv("XDG_CONFIG_HOME", before_.c_str(), 1);
  }
  Home(const Home&) = delete;
  Home& operator=(const Home&) = delete;

 private:
  test::TempDir dir_;
  std::string before_;
};

std::string error_of(const std::string& text) {
  const Home home(text);
  const auto settings = Settings::read();
  if (settings) return "accepted";
  CHECK(settings.error().exit_code == kExitUsage);
  const std::string& message = settings.error().message;
  return message.substr(message.find("config:") + 6);
}

Words parse(const std::string& verb, const std::vector<std::string>& own) {
  CutLine line;
  line.own = own;
  const auto made = find_verb(verb);
  return made->parse(line, Settings::read().value().layers(*made)).value();
}

}  // namespace

TEST_SUITE("cli/settings") {
  TEST_CASE("a section holds for its verb, the top for every verb that has the option") {
    const Home home("json = yes\nlimit = 3\n[jobs]\nlimit = 7\n");
    const auto jobs = find_verb("jobs");
    const auto layers = Settings::read().value().layers(*jobs);
    REQUIRE(layers.size() == 4);
    CHECK(layers[2].size() == 1);
    CHECK(layers[2].front().value == "7");
    CHECK(layers[3].size() == 2);
    const auto status = find_verb("status");
    CHECK(Settings::read().value().layers(*status)[3].size() == 1);  // It has no --limit.
    CHECK(parse("jobs", {}).has("limit"));
  }
  TEST_CASE("a timeout for all verbs is not the one of wait") {
    const Home home("timeout = 5s\n");
    CHECK_FALSE(parse("wait", {"17"}).has("timeout"));
    CHECK(parse("wait", {"17", "--timeout", "3"}).has("timeout"));
    const Home own("[wait]\ntimeout = 5s\n");
    CHECK(parse("wait", {"17"}).has("timeout"));
  }
  TEST_CASE("the environment goes before the file") {
    const Home home("access = /file\n");
    ::setenv("CAPSTAN_ACCESS", "/env", 1);
    const auto verb = find_verb("status");
    const auto layers = Settings::read().value().layers(*verb);
    ::unsetenv("CAPSTAN_ACCESS");
    REQUIRE(verb->parse({}, layers));
    CHECK(verb->common().access == "/env");
    CHECK(verb->common().access_origin == "$CAPSTAN_ACCESS");
  }
  TEST_CASE("a name that nothing listens to is an error with its line and what was meant") {
    CHECK(error_of("acces = /x\n") == ":1: there is no option 'acces': did you mean 'access'?");
    CHECK(error_of("[sumbit]\ncpus = 1\n") ==
          ":2: there is no verb 'sumbit': did you mean 'submit'?");
    CHECK(error_of("[status]\ncpus = 1\n") == ":2: there is no option 'cpus'");
    CHECK(error_of("help = yes\n").starts_with(":1: there is no option 'help'"));
    CHECK(error_of("") == "accepted");
  }
  TEST_CASE("a default is what the option's text says") {
    CHECK(default_in("Give up then (default 30s).") == "30s");
    CHECK(default_in("At most so many (default 50; 0: all).") == "50");
    CHECK(default_in("The name (default: that of its program).") == "that of its program");
    CHECK(default_in("Where. Default: $HOME/x.") == "$HOME/x");
    CHECK(default_in("Print nothing.").empty());
  }
  TEST_CASE("every verb settles on what it has without a file") {
    for (const auto& verb : make_all_verbs()) {
      CAPTURE(verb->name());
      CHECK(verb->settle({}));
      CHECK_FALSE(verb->summary().empty());
    }
  }
}
