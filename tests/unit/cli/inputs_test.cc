// SPDX-License-Identifier: MIT
#include "cli/inputs.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "cli/job_options.h"
#include "cli/job_submission.h"
#include "cli/task_inputs.h"
#include "common/model/limits.h"
#include "tests/support/temp_dir.h"

using namespace capstan;
using namespace capstan::cli;

namespace {

/// A file that is gone at the end.
class TestFile {
 public:
  explicit TestFile(const std::string& content) {
    std::ofstream(path_, std::ios::binary) << content;
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  test::TempDir dir_;
  std::string path_ = dir_.file("inputs");
};

JobSpec spec_of(std::vector<Bytes> argv) {
  JobSpec spec;
  spec.argv = std::move(argv);
  spec.has_inputs = true;
  spec.cwd = "/";
  return spec;
}

using Kind = InputSource::Kind;
using Rows = std::vector<std::vector<Bytes>>;

/// The values of each task, from the parts as they are sent.
Rows tasks_of(const TaskInputs& inputs, std::size_t per_task = 1) {
  Rows tasks;
  for (std::uint64_t part = 0; part < inputs.parts(); ++part) {
    std::size_t in_part = 0;
    for (Bytes& input : inputs.part(part)) {
      if (in_part++ % per_task == 0) tasks.emplace_back();
      tasks.back().push_back(std::move(input));
    }
  }
  return tasks;
}
std::vector<Bytes> all_of(const TaskInputs& inputs) {
  std::vector<Bytes> all;
  for (const auto& task : tasks_of(inputs)) all.insert(all.end(), task.begin(), task.end());
  return all;
}

Outcome<TaskInputs> read(InputSource source, const JobSpec& spec = spec_of({"echo"})) {
  return read_inputs({{std::move(source)}, '\n'}, spec);
}
InputSource words_of(std::vector<Bytes> words, bool is_linked = false) {
  return {Kind::Words, is_linked, std::move(words)};
}
InputSource file_of(const Bytes& path) {
  return {Kind::File, false, {path}};
}
Rows combined(std::vector<InputSource> sources) {
  JobSpec spec = spec_of({"echo"});
  spec.inputs_per_task = static_cast<std::uint32_t>(sources.size());
  const auto inputs = read_inputs({std::move(sources), '\n'}, spec);
  REQUIRE(inputs);
  Rows tasks = tasks_of(*inputs, spec.inputs_per_task);
  CHECK(inputs->tasks() == tasks.size());
  CHECK(inputs->values() == tasks.size() * spec.inputs_per_task);
  return tasks;
}
std::string joined(const Rows& tasks) {
  std::string text;
  for (const auto& task : tasks) {
    for (const Bytes& value : task) text += value;
    text += ' ';
  }
  return text;
}
TaskInputs inputs_of(std::vector<Bytes> values) {
  auto inputs = read(words_of(std::move(values)));
  REQUIRE(inputs);
  return std::move(*inputs);
}

Words command(std::vector<Bytes> argv) {
  Words words;
  words.command = std::move(argv);
  return words;
}

const char* no_environment(const char*) {
  return nullptr;
}
const char* some_environment(const char* name) {
  return std::string(name) == "COLOUR" ? "a=b" : nullptr;
}

}  // namespace

TEST_SUITE("cli/inputs") {
  TEST_CASE("words arrive as they are") {
    const std::vector<Bytes> words{"a b", "'\"$x", "two\nlines", "-rf", "\xff\xfe", ""};
    const auto list = read(words_of(words));
    REQUIRE(list);
    CHECK(list->tasks() == words.size());
    CHECK(all_of(*list) == words);
  }
  TEST_CASE("lines are cut at newlines and nothing else") {
    const TestFile file("one\n two \n\n\xff\xfe\r\nlast");
    const auto list = read(file_of(file.path()));
    REQUIRE(list);
    CHECK(all_of(*list) == std::vector<Bytes>{"one", " two ", "", "\xff\xfe\r", "last"});
  }
  TEST_CASE("a newline at the end begins no line") {
    const TestFile file("a\nb\n");
    const auto list = read(file_of(file.path()));
    REQUIRE(list);
    CHECK(all_of(*list) == std::vector<Bytes>{"a", "b"});
  }
  TEST_CASE("with -0 a NUL ends an input, and a newline is a part of it") {
    const TestFile file(std::string("a\nb\0\0c", 6));
    const auto list = read_inputs({{file_of(file.path())}, '\0'}, spec_of({"echo"}));
    REQUIRE(list);
    CHECK(all_of(*list) == std::vector<Bytes>{"a\nb", "", "c"});
  }
  TEST_CASE("lines that straddle the reading blocks stay whole") {
    std::string content;
    std::vector<Bytes> expected;
    for (int i = 0; i < 40'000; ++i) {
      expected.push_back("line-" + std::to_string(i) +
                         std::string(static_cast<std::size_t>(i % 37), 'x'));
      content += expected.back() + "\n";
    }
    const TestFile file(content);
    const auto list = read(file_of(file.path()));
    REQUIRE(list);
    CHECK(list->parts() > 5);
    CHECK(all_of(*list) == expected);
  }
  TEST_CASE("parts are chunks, a large input has one of its own") {
    CHECK(inputs_of({"small", std::string(limits::kInputBytes, 'x'), "small"}).parts() == 3);
    const TaskInputs many = inputs_of(std::vector<Bytes>(100'000, "x"));
    CHECK(many.parts() == 10);
    for (std::uint64_t part = 0; part < many.parts(); ++part) {
      CHECK(many.part(part).size() * 6 <= limits::kInputChunkBytes);
    }
  }
  TEST_CASE("the digest tells inputs apart, also where only the boundary moved") {
    CHECK(inputs_of({"ab", "c"}).digest({}) == inputs_of({"ab", "c"}).digest({}));
    CHECK_FALSE(inputs_of({"ab", "c"}).digest({}) == inputs_of({"a", "bc"}).digest({}));
    CHECK(TaskInputs().digest({}) == Digest{});
    const auto digest = [](std::vector<InputSource> sources) {
      JobSpec spec = spec_of({"echo"});
      spec.inputs_per_task = 2;
      return read_inputs({std::move(sources), '\n'}, spec)->digest({});
    };
    CHECK(digest({words_of({"a"}), words_of({"b"})}) == digest({words_of({"a"}), words_of({"b"})}));
    CHECK_FALSE(digest({words_of({"a", "b"}), words_of({"c"})}) ==
                digest({words_of({"a"}), words_of({"b", "c"})}));
    CHECK_FALSE(digest({words_of({"a"}), words_of({"b"})}) ==
                digest({words_of({"a"}), words_of({"b"}, true)}));
  }
  TEST_CASE("what cannot be an argument is refused with its line") {
    const TestFile file("fine\n" + std::string(limits::kArgumentBytes + 1, 'x') + "\n");
    auto list = read(file_of(file.path()));
    REQUIRE_FALSE(list);
    CHECK(list.error().exit_code == kExitUsage);
    CHECK(list.error().message.find("line 2 of " + file.path()) != std::string::npos);
    list = read(words_of({"ok", std::string("a\0b", 3)}));
    REQUIRE_FALSE(list);
    CHECK(list.error().message.find("input 2") != std::string::npos);
  }
  TEST_CASE("the exact length decides, with and without a placeholder") {
    const Bytes longest(limits::kArgumentBytes, 'x');
    CHECK(read(words_of({longest})));
    CHECK(read(words_of({longest}), spec_of({"echo", "{}"})));
    CHECK_FALSE(read(words_of({longest}), spec_of({"echo", "x{}"})));
    const Bytes half(limits::kArgumentBytes / 2, 'x');
    CHECK(read(words_of({half}), spec_of({"echo", "{}{}"})));
    CHECK_FALSE(read(words_of({half}), spec_of({"echo", "{}{}{}"})));
  }
  TEST_CASE("quotes of a shell line count") {
    JobSpec spec = spec_of({"echo {}"});
    spec.shell = true;
    CHECK(read(words_of({Bytes(1000, '\'')}), spec));
    CHECK_FALSE(read(words_of({Bytes(limits::kArgumentBytes / 2, '\'')}), spec));
  }
  TEST_CASE("missing files and empty lists are refused") {
    CHECK_FALSE(read(file_of("/nonexistent/list")));
    CHECK_FALSE(read(file_of("/")));
    CHECK_FALSE(read(words_of({})));
    const TestFile empty("");
    CHECK_FALSE(read(file_of(empty.path())));
  }
}

TEST_SUITE("cli/task_inputs") {
  TEST_CASE("lists are combined as GNU parallel combines them, the first outermost") {
    CHECK(joined(combined({words_of({"a", "b"}), words_of({"1", "2"})})) == "a1 a2 b1 b2 ");
    CHECK(joined(combined({words_of({"a", "b"}), words_of({"1"}), words_of({"x", "y"})})) ==
          "a1x a1y b1x b1y ");
    const TestFile file("1\n2\n");
    CHECK(joined(combined({words_of({"a", "b"}), file_of(file.path())})) == "a1 a2 b1 b2 ");
  }
  TEST_CASE("linked lists go along with each other until the shortest ends") {
    CHECK(joined(combined({words_of({"a", "b", "c"}), words_of({"1", "2"}, true)})) == "a1 b2 ");
    CHECK(joined(combined({words_of({"a"}), words_of({"1", "2"}, true)})) == "a1 ");
    CHECK(joined(combined({words_of({"a", "b"}), words_of({"1", "2", "3"}),
                           words_of({"x", "y"}, true)})) == "a1x a2y b1x b2y ");
    CHECK(joined(combined({words_of({"a", "b"}), words_of({"1", "2"}, true),
                           words_of({"x", "y"})})) == "a1x a1y b2x b2y ");
  }
  TEST_CASE("combinations in many parts are those of one walk") {
    std::vector<Bytes> left, right;
    for (int i = 0; i < 300; ++i) left.push_back("left-" + std::to_string(i) + "-");
    for (int i = 0; i < 200; ++i) {
      right.push_back(std::to_string(i) + Bytes(static_cast<std::size_t>(i % 90), 'x'));
    }
    JobSpec spec = spec_of({"echo"});
    spec.inputs_per_task = 2;
    const auto inputs = read_inputs({{words_of(left), words_of(right)}, '\n'}, spec);
    REQUIRE(inputs);
    CHECK(inputs->parts() > 20);
    const Rows tasks = tasks_of(*inputs, 2);
    REQUIRE(tasks.size() == 60'000);
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      if (tasks[i] == std::vector<Bytes>{left[i / 200], right[i % 200]}) continue;
      FAIL("task " << i << " is another combination");
    }
  }
  TEST_CASE("a batch is so many inputs, never over two parts, the last one may have fewer") {
    std::vector<Bytes> values;
    for (int i = 0; i < 20'000; ++i) values.push_back(std::to_string(i));
    JobSpec spec = spec_of({"echo"});
    spec.inputs_per_task = 7;
    const auto inputs = read(words_of(values), spec);
    REQUIRE(inputs);
    CHECK(inputs->values() == 20'000);
    CHECK(inputs->tasks() == 2858);
    CHECK(inputs->parts() > 2);
    for (std::uint64_t part = 0; part + 1 < inputs->parts(); ++part) {
      CHECK(inputs->part(part).size() % 7 == 0);
    }
    CHECK(all_of(*inputs) == values);
    CHECK(tasks_of(*inputs, 7).back().size() == 1);
    spec.inputs_per_task = 10'000;
    CHECK(read(words_of({"a", "b"}), spec)->tasks() == 1);
  }
  TEST_CASE("a batch that is too large together is refused, and names its task") {
    JobSpec spec = spec_of({"echo"});
    spec.inputs_per_task = 3;
    const Bytes half(limits::kTaskInputBytes / 2, 'x');
    CHECK(read(words_of({"a", half, half, half, "b", "c"}), spec).has_value() == false);
    const auto refused = read(words_of({"a", "b", "c", half, half, "d"}), spec);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().exit_code == kExitUsage);
    CHECK(refused.error().message.find("task 2") != std::string::npos);
    CHECK(refused.error().message.find("--batch") != std::string::npos);
  }
  TEST_CASE("too many combinations are refused before they are made") {
    JobSpec spec = spec_of({"echo"});
    spec.inputs_per_task = 3;
    const std::vector<Bytes> many(10'000, "x");
    const auto refused =
        read_inputs({{words_of(many), words_of(many), words_of({"y", "z"})}, '\n'}, spec);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message.find("100000000") != std::string::npos);
  }
  TEST_CASE("an empty list among several is refused by its number") {
    JobSpec spec = spec_of({"echo"});
    spec.inputs_per_task = 2;
    const auto refused = read_inputs({{words_of({"a"}), words_of({})}, '\n'}, spec);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message.find("2 is empty") != std::string::npos);
  }
}

TEST_SUITE("cli/job_options") {
  TEST_CASE("a plain command is one task where the submitter is") {
    const auto spec = make_spec({}, command({"/usr/bin/env", "-i"}), {"/here", ""});
    REQUIRE(spec);
    CHECK(spec->name == "env");
    CHECK(spec->cwd == "/here");
    CHECK(task_count(*spec) == 1);
    CHECK_FALSE(spec->has_inputs);
    CHECK_FALSE(spec->array);
  }
  TEST_CASE("an array takes its ranges and its limit") {
    JobOptions job;
    job.array = "1-99:2%4";
    Words words = command({"x"});
    words.given = {"array"};
    const auto spec = make_spec(job, words, {"/", ""});
    REQUIRE(spec);
    CHECK(spec->array);
    CHECK(task_count(*spec) == 50);
    CHECK(spec->max_running == 4);
  }
  TEST_CASE("nonsense is refused") {
    JobOptions job;
    CHECK_FALSE(make_spec(job, command({}), {"/", ""}));
    CHECK_FALSE(make_spec(job, command({""}), {"/", ""}));
    CHECK_FALSE(make_spec(job, command({"x", Bytes(limits::kArgumentBytes + 1, 'x')}), {"/", ""}));
    job.array = "1-3";
    Words words = command({"x"});
    words.given = {"array"};
    words.sources = {words_of({"a"})};
    CHECK_FALSE(make_spec(job, words, {"/", ""}));
    words.sources.clear();
    for (const char* bad : {"3-1", "1-1000000000000", "x", "", "1-5:0", "0-2000000000"}) {
      job.array = bad;
      CAPTURE(bad);
      CHECK_FALSE(make_spec(job, words, {"/", ""}));
    }
  }
  TEST_CASE("a shell line is one argument, and names its program") {
    JobOptions job;
    job.shell = true;
    const auto spec = make_spec(job, command({"gzip -c {}", "> out"}), {"/", ""});
    REQUIRE(spec);
    CHECK(spec->argv == std::vector<Bytes>{"gzip -c {} > out"});
    CHECK(spec->name == "gzip");
    CHECK(default_name({"  /bin/ls|wc"}, true) == "ls");
    CHECK(default_name({"/"}, false) == "command");
  }
  TEST_CASE("the environment is said or copied") {
    auto variable = parse_env("A=1=2", no_environment);
    REQUIRE(variable);
    CHECK(variable->name == "A");
    CHECK(variable->value == "1=2");
    variable = parse_env("COLOUR", some_environment);
    REQUIRE(variable);
    CHECK(variable->value == "a=b");
    variable = parse_env("A=", no_environment);
    REQUIRE(variable);
    CHECK(variable->value.empty());
    const auto unset = parse_env("NOPE", no_environment);
    REQUIRE_FALSE(unset);
    CHECK(unset.error().exit_code == kExitUsage);
    CHECK_FALSE(parse_env("=x", no_environment));
  }
  TEST_CASE("the same job has the same digest, another name another one") {
    const auto digest_of = [](const char* name, const char* input) {
      JobSpec spec = spec_of({"echo"});
      spec.name = name;
      return JobSubmission(spec, {inputs_of({input}), "", "t"}).open().digest;
    };
    CHECK(digest_of("a", "x").size() == 16);
    CHECK(digest_of("a", "x") == digest_of("a", "x"));
    CHECK(digest_of("a", "x") != digest_of("b", "x"));
    CHECK(digest_of("a", "x") != digest_of("a", "y"));
  }
  TEST_CASE("standard input is sent in parts before the inputs, and is part of the digest") {
    JobSpec spec = spec_of({"echo"});
    spec.has_stdin = true;
    const Bytes data = Bytes(limits::kInputChunkBytes, 'a') + "b";
    const JobSubmission submission(spec, {inputs_of({"x"}), data, ""});
    CHECK(submission.parts() == 3);
    CHECK(submission.inputs() == 1);
    CHECK(std::get<msg::SubmitStdin>(submission.part(0)).data.size() == limits::kInputChunkBytes);
    CHECK(std::get<msg::SubmitStdin>(submission.part(1)).data == "b");
    const auto inputs = std::get<msg::SubmitInputs>(submission.part(2));
    CHECK(inputs.part == 2);
    CHECK(inputs.inputs == std::vector<Bytes>{"x"});
    const JobSubmission other(spec, {inputs_of({"x"}), data + "c", ""});
    CHECK(submission.open().digest != other.open().digest);
  }
  TEST_CASE("a script is the program, the words are its arguments") {
    JobOptions job;
    job.script = "jobs/night.sh";
    Words words = command({"a", "{}"});
    words.given = {"script"};
    words.sources = {words_of({"x"})};
    const auto spec = make_spec(job, words, {"/", "#!/bin/sh\nexit 0\n"});
    REQUIRE(spec);
    CHECK(spec->argv == std::vector<Bytes>{"night.sh", "a", "{}"});
    CHECK(spec->name == "night.sh");
    CHECK(spec->script == "#!/bin/sh\nexit 0\n");
    CHECK(make_spec(job,
                    [&] {
                      words.command.clear();
                      return words;
                    }(),
                    {"/", "#!/bin/sh\n"}));
    CHECK_FALSE(make_spec(job, words, {"/", ""}));
    job.shell = true;
    CHECK_FALSE(make_spec(job, words, {"/", "#!/bin/sh\n"}));
  }
  TEST_CASE("a batch wants one list, combined lists say how many inputs a task has") {
    JobOptions job;
    Words words = command({"x", "{2}"});
    words.sources = {words_of({"a"}), words_of({"b"})};
    CHECK(make_spec(job, words, {"/", ""})->inputs_per_task == 2);
    job.batch = 2;
    CHECK_FALSE(make_spec(job, words, {"/", ""}));
    words.sources = {words_of({"a"})};
    CHECK(make_spec(job, words, {"/", ""})->inputs_per_task == 2);
    words.sources.clear();
    CHECK_FALSE(make_spec(job, words, {"/", ""}));
    job.batch = 1;
    words.sources = {words_of({"a"})};
    CHECK_FALSE(make_spec(job, words, {"/", ""}));  // {2} of one.
  }
  TEST_CASE("jobs to run after are numbers or last, each once") {
    const auto after = parse_after("--after", {"9,3", "last", "3"});
    REQUIRE(after);
    CHECK(after->jobs == std::vector<JobId>{JobId(3), JobId(9)});
    CHECK(after->has_last);
    CHECK_FALSE(parse_after("--after", {"7"})->has_last);
    for (const char* bad : {"", "3,", "all", "17.2", "x", "0"}) {
      CAPTURE(bad);
      CHECK_FALSE(parse_after("--after", {bad}));
    }
  }
  TEST_CASE("what last means joins the jobs that were named, and leaves the digest alone") {
    JobSpec spec = spec_of({"echo"});
    spec.after = {JobId(3), JobId(9)};
    JobSubmission::Contents contents;
    contents.after_last = true;
    contents.typed = "after 9,last,3";
    JobSubmission first(spec, contents);
    JobSubmission second(spec, contents);
    first.set_last(JobId(5));
    second.set_last(JobId(9));
    CHECK(first.open().spec.after == std::vector<JobId>{JobId(3), JobId(5), JobId(9)});
    CHECK(second.open().spec.after == spec.after);
    CHECK(first.open().spec.after_any.empty());
    CHECK(first.open().digest == second.open().digest);
  }
  TEST_CASE("a begin from now on is the same contents at any moment, another text is not") {
    JobOptions job;
    job.begin = "now+10m";
    Words words = command({"x"});
    words.given = {"begin"};
    const auto submission_at = [&](std::int64_t us) {
      const auto spec = make_spec(job, words, {"/", "", WallTime{us}});
      REQUIRE(spec);
      JobSubmission::Contents contents;
      contents.typed = typed_moments(job);
      return JobSubmission(*spec, contents);
    };
    const JobSubmission first = submission_at(1'000'000);
    CHECK(first.open().spec.begin_at.us == 601'000'000);
    CHECK(first.open().digest == submission_at(2'000'000).open().digest);
    job.begin = "now+11m";
    CHECK(first.open().digest != submission_at(1'000'000).open().digest);
    job.begin = "soon";
    CHECK_FALSE(make_spec(job, words, {"/", ""}));
  }
  TEST_CASE("standard input is read once") {
    JobOptions job;
    Words words = command({"x"});
    words.sources = {file_of("-")};
    CHECK(make_sources(job, words));
    job.stdin_file = "-";
    CHECK_FALSE(make_sources(job, words));
    words.sources = {file_of("-"), file_of("-")};
    job.stdin_file = "";
    CHECK_FALSE(make_sources(job, words));
    job.script = job.stdin_file = "-";
    words.sources.clear();
    CHECK_FALSE(make_sources(job, words));
  }
  TEST_CASE("a file of all tasks is refused") {
    JobOptions job;
    Words words = command({"x"});
    job.output = "out/%j.log";
    CHECK(make_spec(job, words, {"/", ""}));
    words.sources = {words_of({"a"})};
    CHECK_FALSE(make_spec(job, words, {"/", ""}));
    for (const char* good : {"out/%t.log", "{/}.log", "/dev/null"}) {
      job.output = good;
      CAPTURE(good);
      CHECK(make_spec(job, words, {"/", ""}));
    }
    job.error = "%q";
    CHECK_FALSE(make_spec(job, words, {"/", ""}));
  }
  TEST_CASE("inputs leave the indices to the master") {
    JobSpec spec = spec_of({"echo"});
    spec.indices = {{1, 1, 1}};
    const JobSubmission submission(spec, {});
    CHECK(submission.open().spec.indices.empty());
    CHECK(submission.open().request.is_set());
  }
}
