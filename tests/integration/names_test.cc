// SPDX-License-Identifier: MIT
//
// File names are bytes: what was given arrives in the task as it is.
#include <doctest/doctest.h>

#include "tests/integration/cluster.h"

namespace capstan::itest {
namespace {

const std::vector<std::string>& odd_names() {
  static const std::vector<std::string> names = {
      "two words.jpg",
      " leading and trailing ",
      "it's \"quoted\" `here`",
      "-rf",
      "--help",
      "--",
      "$HOME $(id) ${X} ; & | > <",
      "back\\slash \\n \\",
      "tab\there",
      "caf\xc3\xa9 \xf0\x9f\x93\xb7.jpg",
      "latin-1 \xe9\xff\xfe.jpg",
      "{} {.} {#} {//}",
      "*",
      "~",
      "% %s %d",
      "a=b",
      "#comment",
      "!",
  };
  return names;
}

std::string joined_lines(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += name + "\n";
  return text;
}

void check_files(const TempDir& dir, const std::vector<std::string>& names) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    CAPTURE(names[i]);
    CHECK(read_file(dir / ("out." + std::to_string(i + 1))) == names[i]);
  }
}

}  // namespace

TEST_SUITE("integration/names") {
  TEST_CASE("inputs on the command line arrive as they are, line breaks and all") {
    const Cluster cluster;
    std::vector<std::string> names = odd_names();
    names.emplace_back("line\nbreak\n");
    names.emplace_back("\n");
    Args args = {"submit", "--wait", "--", "sh", "-c", "printf %s \"$1\" > out.$CAPSTAN_TASK_INDEX",
                 "sh",     "{}",     ":::"};
    args.insert(args.end(), names.begin(), names.end());
    cluster.cli().ok(args);
    check_files(cluster.dir(), names);
  }

  TEST_CASE("lines of a file arrive as they are") {
    const Cluster cluster;
    cluster.cli().ok({"submit", "--wait", "--each-line", "-", "--", "sh", "-c",
                      "printf %s \"$1\" > out.$CAPSTAN_TASK_INDEX", "sh", "{}"},
                     joined_lines(odd_names()));
    check_files(cluster.dir(), odd_names());
  }

  TEST_CASE("in a shell line inputs are quoted") {
    const Cluster cluster;
    cluster.cli().ok(
        {"submit", "--wait", "--shell", "--each-line", "-", "--", "printf %s {} > out.{#}"},
        joined_lines(odd_names()));
    check_files(cluster.dir(), odd_names());
  }

  TEST_CASE("CAPSTAN_INPUT is the input, and an input without a placeholder is appended") {
    const Cluster cluster;
    cluster.cli().ok({"submit", "--wait", "--each-line", "-", "--", "sh", "-c",
                      "[ \"$1\" = \"$CAPSTAN_INPUT\" ] && "
                      "printf %s \"$CAPSTAN_INPUT\" > out.$CAPSTAN_TASK_INDEX",
                      "sh"},
                     joined_lines(odd_names()));
    check_files(cluster.dir(), odd_names());
  }

  TEST_CASE("an input that is too long for the environment still arrives as an argument") {
    const Cluster cluster;
    const std::string input(131'000, 'i');
    cluster.cli().ok(
        {"submit", "--wait", "--each-line", "-", "--", "sh", "-c",
         "printf %s \"$1\" > out.1; printf %s \"${CAPSTAN_INPUT-unset}\" > env.1", "sh"},
        input + "\n");
    CHECK(read_file(cluster.dir() / "out.1") == input);
    const std::string environment = read_file(cluster.dir() / "env.1");
    CHECK((environment == "unset" || environment == input));
  }

  TEST_CASE("arguments, directory and environment of a plain command arrive as they are") {
    const Cluster cluster;
    const std::string folder = cluster.dir() / "odd \xff 'dir'";
    REQUIRE(run({.argv = {"mkdir", folder}}).code == 0);
    Args args = {"submit", "--wait",
                 "--cwd",  folder,
                 "--env",  "ODD=a b\xff\n'c'",
                 "--",     "sh",
                 "-c",     "printf '%s|' \"$@\" > args; printf %s \"$ODD\" > env",
                 "sh"};
    args.insert(args.end(), odd_names().begin(), odd_names().end());
    cluster.cli().ok(args);
    std::string expected;
    for (const std::string& name : odd_names()) expected += name + "|";
    CHECK(read_file(folder + "/args") == expected);
    CHECK(read_file(folder + "/env") == "a b\xff\n'c'");
  }

  TEST_CASE("parallel's placeholders") {
    const Cluster cluster;
    cluster.cli().ok({"submit", "--wait", "--", "sh", "-c", "printf '%s|' \"$@\" > out.1", "sh",
                      "{}", "{.}", "{/}", "{//}", "{/.}", "{#}", "x{/.}-{#}.png",
                      ":::", "/a b/c.d/e.f.jpg"});
    CHECK(read_file(cluster.dir() / "out.1") ==
          "/a b/c.d/e.f.jpg|/a b/c.d/e.f|e.f.jpg|/a b/c.d|e.f|1|xe.f-1.png|");
  }
}

}  // namespace capstan::itest
