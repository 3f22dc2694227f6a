// SPDX-License-Identifier: MIT
#include "common/base/config_file.h"
#include "tests/support/temp_dir.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

using namespace capstan;

namespace {

/// A file of its own, removed at the end, with `config` as its name in a directory of its own.
class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text) { std::ofstream(path()) << text; }
  [[nodiscard]] const std::string& dir() const { return dir_.path(); }
  [[nodiscard]] std::string path() const { return dir_.file("config"); }

 private:
  test::TempDir dir_;
};

std::string error_of(const std::string& text) {
  const ConfigFile file(text);
  const auto lines = config::read_file(file.path());
  if (lines) return "accepted";
  CHECK(lines.error().code == Errc::Invalid);
  CHECK(lines.error().message.starts_with(file.path() + ":"));
  return lines.error().message.substr(file.path().size());
}

/// A program with two options and a directory.
struct Daemon {
  std::string dir;
  int cpus = 1;
  bool help = false;
  config::po::options_description options;
  Daemon() {
    options.add_options()("dir", config::po::value(&dir))(
        "cpus", config::parsed("cpus", &cpus, config::whole(1, 64)))(
        "help", config::po::bool_switch(&help));
  }
  Result<config::Parsed> parse(const std::vector<std::string>& args) {
    const auto find = [this]() -> Result<std::string> { return dir; };
    return config::parse_program({options, "CAPSTAN_TESTED_", find}, args);
  }
};

}  // namespace

TEST_SUITE("common/base/config_file") {
  TEST_CASE("a file has names, values, sections and comments, and each knows its line") {
    const ConfigFile file(
        "# all of it\n\n access = /a b/c  # gone\ncpus=2\r\n[ submit ]\nenv = A=1\nenv = B=x y\n");
    const auto lines = config::read_file(file.path());
    REQUIRE(lines);
    REQUIRE(lines->size() == 4);
    CHECK(lines->at(0).setting.name == "access");
    CHECK(lines->at(0).setting.value == "/a b/c");
    CHECK(lines->at(0).setting.origin == file.path() + ":3");
    CHECK(lines->at(0).section.empty());
    CHECK(lines->at(1).setting.value == "2");
    CHECK(lines->at(2).section == "submit");
    CHECK(lines->at(2).setting.value == "A=1");
    CHECK(lines->at(3).setting.value == "B=x y");
    CHECK(lines->at(3).setting.origin == file.path() + ":7");
  }
  TEST_CASE("a file that is not there says nothing; a directory is none") {
    CHECK(config::read_file("/nonexistent/config").value().empty());
    const ConfigFile file("");
    CHECK_FALSE(config::read_file(file.dir()));
  }
  TEST_CASE("a line that cannot be meant is named with its number") {
    CHECK(error_of("a = 1\nnothing\n").starts_with(":2: 'nothing' says nothing"));
    CHECK(error_of("\ncpus =\n") == ":2: 'cpus =' lacks a value");
    CHECK(error_of("= 3\n") != "accepted");
    CHECK(error_of(std::string("a\0b = 1\n", 8)) == ":1: this is no text");
    CHECK(error_of("x = " + std::string(70'000, 'y')) == ":1: this is no text");
  }
  TEST_CASE("a program: the command line before the environment before the file") {
    const ConfigFile file("cpus = 4\n");
    const auto cpus = [&](std::vector<std::string> args) {
      Daemon daemon;
      args.insert(args.end(), {"--dir", file.dir()});
      REQUIRE(daemon.parse(args));
      return daemon.cpus;
    };
    CHECK(cpus({}) == 4);
    ::setenv("CAPSTAN_TESTED_CPUS", "3", 1);
    CHECK(cpus({}) == 3);
    CHECK(cpus({"--cpus", "2"}) == 2);
    ::setenv("CAPSTAN_TESTED_CPUS", "", 1);
    CHECK(cpus({}) == 4);
    ::setenv("CAPSTAN_TESTED_CPUS", "none", 1);
    Daemon daemon;
    const auto refused = daemon.parse({});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message.starts_with("$CAPSTAN_TESTED_CPUS: --cpus: 'none'"));
    ::unsetenv("CAPSTAN_TESTED_CPUS");
  }
  TEST_CASE("a program's file: what nothing listens to is an error") {
    const auto refusal = [](const std::string& text) {
      const ConfigFile file(text);
      Daemon daemon;
      const auto parsed = daemon.parse({"--dir", file.dir()});
      return parsed ? std::string("accepted") : parsed.error().message.substr(file.path().size());
    };
    CHECK(refusal("cpu = 4\n") == ":1: there is no option 'cpu': did you mean 'cpus'?");
    CHECK(refusal("dir = /x\n") == ":1: there is no option 'dir'");
    CHECK(refusal("help = yes\n") == ":1: there is no option 'help'");
    CHECK(refusal("\n[submit]\ncpus = 4\n") == ":3: [submit]: this file has no sections");
    CHECK(refusal("cpus = 99\n").starts_with(":1: --cpus: '99' is out of range"));
    CHECK(refusal("cpus = 1\ncpus = 2\n") != "accepted");
  }
}
