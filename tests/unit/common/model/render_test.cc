// SPDX-License-Identifier: MIT
#include "common/model/render.h"

#include <doctest/doctest.h>

#include "common/model/limits.h"

using namespace capstan;
using namespace std::string_literals;

namespace {

JobSpec with_inputs(std::vector<Bytes> argv) {
  JobSpec spec;
  spec.argv = std::move(argv);
  spec.has_inputs = true;
  return spec;
}

Bytes filled(const Bytes& argument, std::string_view input) {
  const auto argv = render_command(with_inputs({"cmd", argument}), TaskIndex(42), input);
  REQUIRE(argv);
  REQUIRE(argv->size() == 2);
  return argv->at(1);
}

Bytes shell_line(const Bytes& line, std::string_view input) {
  JobSpec spec = with_inputs({line});
  spec.shell = true;
  const auto argv = render_command(spec, TaskIndex(42), input);
  REQUIRE(argv);
  REQUIRE(argv->size() == 3);
  CHECK(argv->at(0) == "/bin/sh");
  CHECK(argv->at(1) == "-c");
  return argv->at(2);
}

}  // namespace

TEST_SUITE_BEGIN("common/model/render");

TEST_CASE("the placeholders mean what GNU parallel's manual says") {
  CHECK(filled("{}", "dir/pic.tar.gz") == "dir/pic.tar.gz");
  CHECK(filled("{.}", "dir/pic.tar.gz") == "dir/pic.tar");
  CHECK(filled("{/}", "dir/pic.tar.gz") == "pic.tar.gz");
  CHECK(filled("{//}", "dir/pic.tar.gz") == "dir");
  CHECK(filled("{/.}", "dir/pic.tar.gz") == "pic.tar");
  CHECK(filled("{#}", "dir/pic.tar.gz") == "42");
}

TEST_CASE("extensions belong to the last component") {
  CHECK(filled("{.}", "a.b/c") == "a.b/c");
  CHECK(filled("{.}", "bare") == "bare");
  CHECK(filled("{.}", "ends.") == "ends.");
  CHECK(filled("{.}", ".hidden") == "");
  CHECK(filled("{.}", "a/.hidden") == "a/");
  CHECK(filled("{.}", "a..b") == "a.");
  CHECK(filled("{/.}", "a.b/c") == "c");
}

TEST_CASE("directories are as dirname has them") {
  CHECK(filled("{//}", "bare") == ".");
  CHECK(filled("{//}", "") == ".");
  CHECK(filled("{//}", "/a") == "/");
  CHECK(filled("{//}", "/") == "/");
  CHECK(filled("{//}", "a/b/") == "a");
  CHECK(filled("{//}", "a/") == ".");
  CHECK(filled("{//}", "a//b") == "a");
  CHECK(filled("{//}", "../x/y") == "../x");
  CHECK(filled("{/}", "a/b/") == "");
}

TEST_CASE("placeholders are found anywhere, once, and nothing else is touched") {
  CHECK(filled("in={} out={/.}.webp n{#}", "p/q.jpg") == "in=p/q.jpg out=q.webp n42");
  CHECK(filled("{}", "{.}{#}") == "{.}{#}");
  CHECK(filled("{{}}", "x") == "{x}");
  CHECK(filled("{}{}", "x") == "xx");
  CHECK(filled("{}{x}{/ {1} {", "a") == "a{x}{/ {1} {");
}

TEST_CASE("bytes arrive as they are") {
  const Bytes strange = "-a b'\"\n\xFF$(x)";
  CHECK(filled("{}", strange) == strange);
  CHECK(filled("{/.}", "d/\xFE.\xFD") == "\xFE");
}

TEST_CASE("an input that no argument asks for is appended") {
  const auto argv = render_command(with_inputs({"echo", "-n"}), TaskIndex(1), "a b");
  REQUIRE(argv);
  CHECK(*argv == std::vector<Bytes>{"echo", "-n", "a b"});
  const auto numbered = render_command(with_inputs({"echo", "{#}"}), TaskIndex(3), "a");
  CHECK(*numbered == std::vector<Bytes>{"echo", "3"});
}

TEST_CASE("in a shell line every value is quoted, an empty one too") {
  CHECK(shell_line("cp {} out/{/}", "a b/it's.jpg") == "cp 'a b/it'\\''s.jpg' out/'it'\\''s.jpg'");
  CHECK(shell_line("x {.} {#}", "plain.jpg") == "x plain 42");
  CHECK(shell_line("x {}", "") == "x ''");
  CHECK(shell_line("x {.}", ".h") == "x ''");
  CHECK(shell_line("wc -l", "$(id)") == "wc -l '$(id)'");
}

TEST_CASE("without inputs a command is taken as it is") {
  JobSpec spec;
  spec.argv = {"echo", "{}", "{#}"};
  CHECK(*render_command(spec, TaskIndex(5), "") == spec.argv);
  spec.argv = {"echo {}"};
  spec.shell = true;
  CHECK(*render_command(spec, TaskIndex(5), "") == std::vector<Bytes>{"/bin/sh", "-c", "echo {}"});
}

TEST_CASE("what Linux cannot run is refused") {
  const Bytes longest(limits::kArgumentBytes, 'x');
  CHECK(filled("{}", longest) == longest);
  const auto too_long = render_command(with_inputs({"cmd", "{}y"}), TaskIndex(1), longest);
  REQUIRE_FALSE(too_long);
  CHECK(too_long.error().code == Errc::Invalid);
  CHECK_FALSE(render_command(with_inputs({"cmd"}), TaskIndex(1), "a\0b"s));
}

TEST_SUITE_END();
