// SPDX-License-Identifier: MIT
#include "master/state_dir.h"
#include "tests/support/temp_dir.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace capstan::test {
namespace {

std::string content(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST_SUITE_BEGIN("master/state_dir");

TEST_CASE("the first start makes the keys, the next ones keep them") {
  const TempDir temp;
  std::string key;
  std::string admin;
  const std::vector<Member> masters = {{"a", {"127.0.0.1:7741"}, net::make_key_pair().public_key}};
  {
    auto dir = StateDir::open(temp.file("m"));
    REQUIRE(dir);
    key = dir->server().keys.public_key;
    admin = dir->admin().keys.public_key;
    CHECK(dir->admin().role == Role::Admin);
    CHECK(dir->admin().name == user_name());
    CHECK(dir->invitation().role == Role::Enrolment);
    CHECK(!std::filesystem::exists(dir->admin_access()));
    REQUIRE(dir->tell_addresses(masters));
    struct stat status {};
    REQUIRE(::stat(dir->admin_access().c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
  }
  auto again = StateDir::open(temp.file("m"));
  REQUIRE(again);
  CHECK(again->server().keys.public_key == key);
  CHECK(again->admin().keys.public_key == admin);
  CHECK(again->admin().masters == masters);

  // Rewritten only when something changed.
  const auto before = std::filesystem::last_write_time(again->admin_access());
  const std::string text = content(again->admin_access());
  REQUIRE(again->tell_addresses(masters));
  CHECK(std::filesystem::last_write_time(again->admin_access()) == before);
  std::vector<Member> moved = masters;
  moved.front().addresses = {"127.0.0.1:9999"};
  REQUIRE(again->tell_addresses(moved));
  CHECK(content(again->admin_access()) != text);
  CHECK(content(again->worker_access()).find("127.0.0.1:9999") != std::string::npos);
}

TEST_CASE("a second master on the directory is refused with the pid of the first") {
  const TempDir temp;
  const auto first = StateDir::open(temp.file("m"));
  REQUIRE(first);
  const auto second = StateDir::open(temp.file("m"));
  REQUIRE(!second);
  CHECK(second.error().code == Errc::Locked);
  CHECK(second.error().message.find(std::to_string(::getpid())) != std::string::npos);
}

TEST_CASE("somebody else's directory is left as it is") {
  const TempDir temp;
  std::ofstream(temp.file("holiday.jpg")) << "x";
  const auto dir = StateDir::open(temp.path());
  REQUIRE(!dir);
  CHECK(dir.error().code == Errc::Invalid);
  CHECK(dir.error().message.find("--dir") != std::string::npos);
  CHECK(!std::filesystem::exists(temp.file("master.lock")));
}

TEST_CASE("a database without its key is not given a new one") {
  const TempDir temp;
  std::ofstream(temp.file("capstan.db")) << "x";
  const auto dir = StateDir::open(temp.path());
  REQUIRE(!dir);
  CHECK(dir.error().message.find("master.key") != std::string::npos);
}

TEST_CASE("an access file that was removed is made anew, with another key") {
  const TempDir temp;
  std::string admin;
  const std::vector<Member> masters = {{"a", {"127.0.0.1:7741"}, net::make_key_pair().public_key}};
  {
    auto dir = StateDir::open(temp.file("m"));
    REQUIRE(dir);
    REQUIRE(dir->tell_addresses(masters));
    admin = dir->admin().keys.public_key;
    std::filesystem::remove(dir->admin_access());
  }
  const auto again = StateDir::open(temp.file("m"));
  REQUIRE(again);
  CHECK(again->admin().keys.public_key != admin);
}

TEST_CASE("what others are told to dial") {
  using Addresses = std::vector<std::string>;
  CHECK(addresses_to_dial({"127.0.0.1:7741", {}}).value() == Addresses{"127.0.0.1:7741"});
  CHECK(addresses_to_dial({"10.1.2.3:7741", {}}).value() == Addresses{"10.1.2.3:7741"});
  CHECK(addresses_to_dial({"0.0.0.0:7741", {"node7", "10.0.0.7:9000", "node7"}}).value() ==
        Addresses{"node7:7741", "10.0.0.7:9000"});
  const Addresses all = addresses_to_dial({"0.0.0.0:7741", {}}).value();
  REQUIRE(!all.empty());
  CHECK(all.front().ends_with(":7741"));
  CHECK(!all.front().starts_with("0.0.0.0"));
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
