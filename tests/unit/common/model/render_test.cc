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

Bytes filled(const Bytes& argument, const Bytes& input) {
  const auto argv = render_command(with_inputs({"cmd", argument}), TaskIndex(42), {input});
  REQUIRE(argv);
  REQUIRE(argv->size() == 2);
  return argv->at(1);
}

Bytes shell_line(const Bytes& line, const std::vector<Bytes>& inputs) {
  JobSpec spec = with_inputs({line});
  spec.shell = true;
  const auto argv = render_command(spec, TaskIndex(42), inputs);
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
  CHECK(filled("{}{x}{/ {01} {1", "a") == "a{x}{/ {01} {1");
}

TEST_CASE("bytes arrive as they are") {
  const Bytes strange = "-a b'\"\n\xFF$(x)";
  CHECK(filled("{}", strange) == strange);
  CHECK(filled("{/.}", "d/\xFE.\xFD") == "\xFE");
}

TEST_CASE("an input that no argument asks for is appended") {
  const auto argv = render_command(with_inputs({"echo", "-n"}), TaskIndex(1), {"a b"});
  REQUIRE(argv);
  CHECK(*argv == std::vector<Bytes>{"echo", "-n", "a b"});
  const auto numbered = render_command(with_inputs({"echo", "{#}"}), TaskIndex(3), {"a"});
  CHECK(*numbered == std::vector<Bytes>{"echo", "3"});
}

TEST_CASE("a placeholder that is a whole argument stands for all values, each by itself") {
  const std::vector<Bytes> inputs{"d/a b.x", "", "e/c.y"};
  const auto argv_of = [&](std::vector<Bytes> argv) {
    JobSpec spec = with_inputs(std::move(argv));
    spec.inputs_per_task = 3;
    const auto rendered = render_command(spec, TaskIndex(7), inputs);
    REQUIRE(rendered);
    return *rendered;
  };
  CHECK(argv_of({"p", "{}", "z"}) == std::vector<Bytes>{"p", "d/a b.x", "", "e/c.y", "z"});
  CHECK(argv_of({"p", "{/.}"}) == std::vector<Bytes>{"p", "a b", "", "c"});
  CHECK(argv_of({"p", "x{/}y"}) == std::vector<Bytes>{"p", "xa b.x  c.yy"});
  CHECK(argv_of({"p"}) == std::vector<Bytes>{"p", "d/a b.x", "", "e/c.y"});
  CHECK(argv_of({"p", "{#}"}) == std::vector<Bytes>{"p", "7"});
  CHECK(argv_of({"{}"}) == inputs);
}

TEST_CASE("a number in the braces picks one value of the task") {
  JobSpec spec = with_inputs({"p", "{1}-{2}", "{2.}", "{1/}", "{3//}{3/.}", "{4}"});
  spec.inputs_per_task = 4;
  const auto argv = render_command(spec, TaskIndex(1), {"d/a", "b.c", "e/f.g"});
  REQUIRE(argv);
  CHECK(*argv == std::vector<Bytes>{"p", "d/a-b.c", "b", "a", "ef", ""});
  CHECK(validate_placeholders(spec));
  spec.inputs_per_task = 3;
  const auto refused = validate_placeholders(spec);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("'{4}'") != std::string::npos);
  CHECK(filled("{1} {1/.}", "d/x.y") == "d/x.y x");
  CHECK(filled("{}{0} {00001} {1x} {123456}", "v") == "v{0} {00001} {1x} {123456}");
}

TEST_CASE("a script's name is not filled in, nor does it use up the inputs") {
  JobSpec spec = with_inputs({"{}.sh"});
  spec.script = "#!/bin/sh\n";
  CHECK(*render_command(spec, TaskIndex(1), {"a"}) == std::vector<Bytes>{"{}.sh", "a"});
}

TEST_CASE("the path of a file names job, task, attempt, worker and inputs") {
  JobSpec spec = with_inputs({"p"});
  spec.cwd = "/home/u";
  const AttemptNames names{{JobId(17), TaskIndex(4), AttemptNo(2)}, "w1"};
  const auto path = [&](const Bytes& pattern, const std::vector<Bytes>& inputs) {
    return render_path(spec, pattern, names, inputs).value_or("refused");
  };
  CHECK(path("/o/%j.%t.%a@%w%%", {"a"}) == "/o/17.4.2@w1%");
  CHECK(path("out/{/.}.log", {"d/%j.c"}) == "/home/u/out/%j.log");
  CHECK(path("{1}{2}", {"x", "y"}) == "/home/u/xy");
  CHECK(path("", {}) == "refused");
  CHECK(path("%x", {"a"}) == "refused");
  CHECK(path("a%", {"a"}) == "refused");
  CHECK(path("{}", {Bytes(limits::kPathBytes, 'x')}) == "refused");
  spec.cwd = "/";
  CHECK(path("a", {}) == "/a");
  spec.has_inputs = false;
  CHECK(path("{}", {}) == "/{}");
  for (const char* bad : {"%x", "a%", "%%%", "%J"}) {
    spec.error_path = bad;
    CAPTURE(bad);
    CHECK_FALSE(validate_placeholders(spec));
  }
  spec.error_path = "%%%t";
  CHECK(validate_placeholders(spec));
}

TEST_CASE("a pattern that no task changes is one path") {
  JobSpec spec = with_inputs({"p"});
  CHECK(is_one_path(spec, "out.%j.%a"));
  CHECK(is_one_path(spec, "%%t"));
  CHECK_FALSE(is_one_path(spec, "out.%t"));
  CHECK_FALSE(is_one_path(spec, "{/}.out"));
  spec.has_inputs = false;
  CHECK(is_one_path(spec, "{/}.out"));
}

TEST_CASE("in a shell line every value is quoted, an empty one too") {
  CHECK(shell_line("cp {} out/{/}", {"a b/it's.jpg"}) ==
        "cp 'a b/it'\\''s.jpg' out/'it'\\''s.jpg'");
  CHECK(shell_line("x {.} {#}", {"plain.jpg"}) == "x plain 42");
  CHECK(shell_line("x {}", {""}) == "x ''");
  CHECK(shell_line("x {.}", {".h"}) == "x ''");
  CHECK(shell_line("x {} -o{1} y{2}", {"a b", "c;"}) == "x 'a b' 'c;' -o'a b' y'c;'");
  CHECK(shell_line("{}", {"a b", "c"}) == "'a b' c");
  CHECK(shell_line("wc", {"a b", "c"}) == "wc 'a b' c");
  CHECK(shell_line("wc -l", {"$(id)"}) == "wc -l '$(id)'");
}

TEST_CASE("without inputs a command is taken as it is") {
  JobSpec spec;
  spec.argv = {"echo", "{}", "{#}"};
  CHECK(*render_command(spec, TaskIndex(5), {}) == spec.argv);
  spec.argv = {"echo {}"};
  spec.shell = true;
  CHECK(*render_command(spec, TaskIndex(5), {}) == std::vector<Bytes>{"/bin/sh", "-c", "echo {}"});
}

TEST_CASE("what Linux cannot run is refused") {
  const Bytes longest(limits::kArgumentBytes, 'x');
  CHECK(filled("{}", longest) == longest);
  const auto too_long = render_command(with_inputs({"cmd", "{}y"}), TaskIndex(1), {longest});
  REQUIRE_FALSE(too_long);
  CHECK(too_long.error().code == Errc::Invalid);
  CHECK_FALSE(render_command(with_inputs({"cmd"}), TaskIndex(1), {"a\0b"s}));
}

TEST_SUITE_END();
