// SPDX-License-Identifier: MIT
#include "common/base/config.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <sstream>

using namespace capstan;
namespace po = boost::program_options;

namespace {

struct Flags {
  std::string dir = "unset";
  std::uint32_t cpus = 1;
  std::int32_t priority = 0;
  bool hold = false;
  std::vector<std::string> env;
  po::options_description options;

  Flags() {
    options.add_options()("dir", po::value(&dir)->value_name("DIR"), "where the state is kept")(
        "cpus,c", config::parsed("cpus", &cpus, config::whole(1U, 4096U))->value_name("N"),
        "cpus of a task")("priority", config::parsed("priority", &priority, config::whole(-10, 10)),
                          "higher goes first")("hold", po::bool_switch(&hold), "submit it paused")(
        "env", po::value(&env), "more environment");
  }
};

std::string error_of(const std::vector<std::string>& args) {
  const Flags flags;
  const auto parsed = config::parse(flags.options, args);
  if (parsed) return "accepted";
  CHECK(parsed.error().code == Errc::Invalid);
  CHECK(parsed.error().message.find('\n') == std::string::npos);
  return parsed.error().message;
}

}  // namespace

TEST_SUITE_BEGIN("common/base/config");

TEST_CASE("options set their variables, and only those that were there count as given") {
  Flags flags;
  const auto parsed = config::parse(
      flags.options,
      {"--dir", "a b", "--cpus=4", "--hold", "--priority", "-5", "--env", "A=1", "--env=B=2"});
  REQUIRE(parsed);
  CHECK(flags.dir == "a b");
  CHECK(flags.cpus == 4);
  CHECK(flags.priority == -5);
  CHECK(flags.hold);
  CHECK(flags.env == std::vector<std::string>{"A=1", "B=2"});
  CHECK(parsed->has("hold"));

  Flags none;
  const auto empty = config::parse(none.options, {});
  REQUIRE(empty);
  CHECK_FALSE(empty->has("hold"));
  CHECK(none.dir == "unset");
  CHECK(none.cpus == 1);
}

TEST_CASE("words are positional only where they are expected") {
  Flags flags;
  const auto parsed = config::parse(flags.options, {"17", "-c2", "last", "--", "--dir"},
                                    config::Positional::Allowed);
  REQUIRE(parsed);
  CHECK(parsed->positional == std::vector<std::string>{"17", "last", "--dir"});
  CHECK(flags.cpus == 2);
  CHECK(error_of({"17"}) == "unexpected '17' (see --help)");
}

TEST_CASE("every error is one line with the problem and the way out") {
  CHECK(error_of({"--foo"}) == "unknown option '--foo' (see --help)");
  CHECK(error_of({"--foo=3"}) == "unknown option '--foo' (see --help)");
  CHECK(error_of({"-x"}) == "unknown option '-x' (see --help)");
  CHECK(error_of({"--hol"}) == "unknown option '--hol': did you mean '--hold'? (see --help)");
  CHECK(error_of({"--dir"}) == "option '--dir' needs a value (see --help)");
  CHECK(error_of({"--dir="}) == "option '--dir' needs a value (see --help)");
  CHECK(error_of({"--hold=yes"}) == "option '--hold' takes no value (see --help)");
  CHECK(error_of({"--dir", "a", "--dir", "b"}) ==
        "option '--dir' is given more than once: give it once (see --help)");
  CHECK(error_of({"--cpus", "0"}) ==
        "--cpus: '0' is out of range: use a whole number from 1 to 4096");
  CHECK(error_of({"--cpus", "-1"}) ==
        "--cpus: '-1' is out of range: use a whole number from 1 to 4096");
  CHECK(error_of({"--cpus", "1\n2"}) ==
        "--cpus: '1\\x0a2' is no whole number: use a whole number from 1 to 4096");
  CHECK(error_of({"--cpus", "99999999999999999999"}) ==
        "--cpus: '99999999999999999999' is out of range: use a whole number from 1 to 4096");
  CHECK(error_of({"--cpus", ""}) != "accepted");
  CHECK(error_of({"--fo\no"}) == "unknown option '--fo\\x0ao' (see --help)");
}

TEST_CASE("what the command line does not say comes from the first layer that says it") {
  Flags flags;
  const config::Layer environment = {{"cpus", "3", "$X_CPUS", true}};
  const config::Layer file = {{"cpus", "4", "f:1"},
                              {"dir", "there", "f:2"},
                              {"hold", "yes", "f:3"},
                              {"env", "A=1", "f:4"},
                              {"env", "B=2", "f:5"}};
  const auto parsed = config::parse(flags.options, {"--dir", "here"}, config::Positional::Refused,
                                    {environment, file});
  REQUIRE(parsed);
  CHECK(flags.dir == "here");
  CHECK(flags.cpus == 3);
  CHECK(flags.hold);
  CHECK(flags.env == std::vector<std::string>{"A=1", "B=2"});
  CHECK(parsed->settings.at("cpus").origin == "$X_CPUS");
  CHECK(parsed->settings.count("dir") == 0);
  CHECK(parsed->has("hold"));
  CHECK_FALSE(parsed->has("cpus"));  // General: nobody asked for it here.
}

TEST_CASE("an error of a layer begins with its origin") {
  const auto error = [](const config::Setting& setting) {
    const Flags flags;
    const auto parsed = config::parse(flags.options, {}, config::Positional::Refused, {{setting}});
    return parsed ? std::string("accepted") : parsed.error().message;
  };
  CHECK(error({"cpus", "0", "f:7"}) ==
        "f:7: --cpus: '0' is out of range: use a whole number from 1 to 4096");
  CHECK(error({"hold", "perhaps", "f:8"}).starts_with("f:8: "));
  CHECK(error({"hold", "no", "f:8"}) == "accepted");
}

TEST_CASE("the nearest name is the one that was meant") {
  const std::vector<std::string> names = {"array", "each-line", "retries", "retry", "cpus", "env"};
  CHECK(config::nearest(names, "arr") == "array");
  CHECK(config::nearest(names, "aray") == "array");
  CHECK(config::nearest(names, "cups") == "cpus");
  CHECK(config::nearest(names, "retr").empty());  // Two begin like that.
  CHECK(config::nearest(names, "retris") == "retries");
  CHECK(config::nearest(names, "fifo").empty());
  CHECK(config::nearest(names, "").empty());
}

TEST_CASE("no word of a help is cut") {
  po::options_description options;
  std::string dir;
  const std::string word = "$XDG_STATE_HOME/capstan/HOSTNAME/worker-NAME.";
  options.add_options()("dir,d", po::value(&dir)->value_name("DIR"),
                        ("Where the key is kept, which is made. Default: " + word).c_str());
  const std::string help = config::help_text({}, options);
  CHECK(help.find("\n  -d, --dir DIR           Where the key") != std::string::npos);
  CHECK(help.find(" " + word + "\n") != std::string::npos);
}

TEST_CASE("the help is a page around the description that parses") {
  const Flags flags;
  const config::Page page{.name = "capstan submit",
                          .summary = "submit a batch",
                          .synopsis = {"capstan submit [OPTION…] -- COMMAND"},
                          .description = std::string(30, 'w') + " " + std::string(30, 'x') + " " +
                                         std::string(30, 'y') + "\n\nSecond.",
                          .sections = {{"EXAMPLES", "  capstan submit -- true"}}};
  const std::string help = config::help_text(page, flags.options);
  CHECK(help.starts_with("NAME\n    capstan submit - submit a batch\n\nSYNOPSIS\n    capstan sub"));
  CHECK(help.find("\nDESCRIPTION\n    wwww") != std::string::npos);
  CHECK(help.find("\n    yyyy") != std::string::npos);
  CHECK(help.find("\n\n    Second.\n") != std::string::npos);
  CHECK(help.find("--dir DIR") != std::string::npos);
  CHECK(help.find("\nEXAMPLES\n      capstan submit -- true\n") != std::string::npos);
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 82);  // "…" has 3 bytes.
}

TEST_SUITE_END();
