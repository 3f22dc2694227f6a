// SPDX-License-Identifier: MIT
#include "cli/inputs.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "cli/job_options.h"
#include "common/model/limits.h"

using namespace capstan;
using namespace capstan::cli;

namespace {

/// A file that is gone at the end.
class TestFile {
 public:
  explicit TestFile(const std::string& content) {
    const int fd = ::mkstemp(path_.data());
    REQUIRE(fd >= 0);
    ::close(fd);
    std::ofstream(path_, std::ios::binary) << content;
  }
  ~TestFile() { ::unlink(path_.c_str()); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/capstan-inputs-XXXXXX";
};

JobSpec spec_of(std::vector<Bytes> argv) {
  JobSpec spec;
  spec.argv = std::move(argv);
  spec.has_inputs = true;
  spec.cwd = "/";
  return spec;
}

std::vector<Bytes> all_of(const InputList& list) {
  std::vector<Bytes> all;
  for (std::uint64_t part = 0; part < list.parts(); ++part) {
    for (Bytes& input : list.part(part)) all.push_back(std::move(input));
  }
  return all;
}

Outcome<InputList> read(InputSource source, std::vector<Bytes> from,
                        const JobSpec& spec = spec_of({"echo"})) {
  return read_inputs({source, std::move(from)}, InputChecker(spec));
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
    const auto list = read(InputSource::Words, words);
    REQUIRE(list);
    CHECK(list->size() == words.size());
    CHECK(all_of(*list) == words);
  }
  TEST_CASE("lines are cut at newlines and nothing else") {
    const TestFile file("one\n two \n\n\xff\xfe\r\nlast");
    const auto list = read(InputSource::Files, {file.path()});
    REQUIRE(list);
    CHECK(all_of(*list) == std::vector<Bytes>{"one", " two ", "", "\xff\xfe\r", "last"});
  }
  TEST_CASE("a newline at the end begins no line, several files follow each other") {
    const TestFile first("a\nb\n");
    const TestFile second("c\n");
    const auto list = read(InputSource::Files, {first.path(), second.path()});
    REQUIRE(list);
    CHECK(all_of(*list) == std::vector<Bytes>{"a", "b", "c"});
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
    const auto list = read(InputSource::Files, {file.path()});
    REQUIRE(list);
    CHECK(list->parts() > 5);
    CHECK(all_of(*list) == expected);
  }
  TEST_CASE("parts are chunks, a large input has one of its own") {
    InputList list;
    list.add("small");
    list.add(std::string(limits::kInputBytes, 'x'));
    list.add("small");
    CHECK(list.parts() == 3);
    InputList many;
    for (int i = 0; i < 100'000; ++i) many.add("x");
    for (std::uint64_t part = 0; part < many.parts(); ++part) {
      CHECK(many.part(part).size() * 6 <= limits::kInputChunkBytes);
    }
  }
  TEST_CASE("the digest tells inputs apart, also where only the boundary moved") {
    InputList one, two, same;
    one.add("ab");
    one.add("c");
    two.add("a");
    two.add("bc");
    same.add("ab");
    same.add("c");
    CHECK(one.digest({}) == same.digest({}));
    CHECK_FALSE(one.digest({}) == two.digest({}));
    CHECK(InputList().digest({}) == Digest{});
  }
  TEST_CASE("what cannot be an argument is refused with its line") {
    const TestFile file("fine\n" + std::string(limits::kArgumentBytes + 1, 'x') + "\n");
    auto list = read(InputSource::Files, {file.path()});
    REQUIRE_FALSE(list);
    CHECK(list.error().exit_code == kExitUsage);
    CHECK(list.error().message.find("line 2 of " + file.path()) != std::string::npos);
    list = read(InputSource::Words, {"ok", std::string("a\0b", 3)});
    REQUIRE_FALSE(list);
    CHECK(list.error().message.find("input 2") != std::string::npos);
  }
  TEST_CASE("the exact length decides, with and without a placeholder") {
    const Bytes longest(limits::kArgumentBytes, 'x');
    CHECK(read(InputSource::Words, {longest}));
    CHECK(read(InputSource::Words, {longest}, spec_of({"echo", "{}"})));
    CHECK_FALSE(read(InputSource::Words, {longest}, spec_of({"echo", "x{}"})));
    const Bytes half(limits::kArgumentBytes / 2, 'x');
    CHECK(read(InputSource::Words, {half}, spec_of({"echo", "{}{}"})));
    CHECK_FALSE(read(InputSource::Words, {half}, spec_of({"echo", "{}{}{}"})));
  }
  TEST_CASE("quotes of a shell line count") {
    JobSpec spec = spec_of({"echo {}"});
    spec.shell = true;
    CHECK(read(InputSource::Words, {Bytes(1000, '\'')}, spec));
    CHECK_FALSE(read(InputSource::Words, {Bytes(limits::kArgumentBytes / 2, '\'')}, spec));
  }
  TEST_CASE("missing files and empty lists are refused") {
    CHECK_FALSE(read(InputSource::Files, {"/nonexistent/list"}));
    CHECK_FALSE(read(InputSource::Files, {"/"}));
    CHECK_FALSE(read(InputSource::Words, {}));
    const TestFile empty("");
    CHECK_FALSE(read(InputSource::Files, {empty.path()}));
  }
}

TEST_SUITE("cli/job_options") {
  TEST_CASE("a plain command is one task where the submitter is") {
    const auto spec = make_spec({}, command({"/usr/bin/env", "-i"}), "/here");
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
    const auto spec = make_spec(job, words, "/");
    REQUIRE(spec);
    CHECK(spec->array);
    CHECK(task_count(*spec) == 50);
    CHECK(spec->max_running == 4);
  }
  TEST_CASE("nonsense is refused") {
    JobOptions job;
    CHECK_FALSE(make_spec(job, command({}), "/"));
    CHECK_FALSE(make_spec(job, command({""}), "/"));
    CHECK_FALSE(make_spec(job, command({"x", Bytes(limits::kArgumentBytes + 1, 'x')}), "/"));
    job.array = "1-3";
    Words words = command({"x"});
    words.given = {"array"};
    words.source = InputSource::Words;
    CHECK_FALSE(make_spec(job, words, "/"));
    words.source = InputSource::None;
    for (const char* bad : {"3-1", "1-1000000000000", "x", "", "1-5:0", "0-2000000000"}) {
      job.array = bad;
      CAPTURE(bad);
      CHECK_FALSE(make_spec(job, words, "/"));
    }
  }
  TEST_CASE("a shell line is one argument, and names its program") {
    JobOptions job;
    job.shell = true;
    const auto spec = make_spec(job, command({"gzip -c {}", "> out"}), "/");
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
      InputList inputs;
      inputs.add(input);
      return JobSubmission(spec, std::move(inputs), "t").open().digest;
    };
    CHECK(digest_of("a", "x").size() == 16);
    CHECK(digest_of("a", "x") == digest_of("a", "x"));
    CHECK(digest_of("a", "x") != digest_of("b", "x"));
    CHECK(digest_of("a", "x") != digest_of("a", "y"));
  }
  TEST_CASE("inputs leave the indices to the master") {
    JobSpec spec = spec_of({"echo"});
    spec.indices = {{1, 1, 1}};
    const JobSubmission submission(spec, {}, "");
    CHECK(submission.open().spec.indices.empty());
    CHECK(submission.open().request.is_set());
  }
}
