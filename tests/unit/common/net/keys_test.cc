// SPDX-License-Identifier: MIT
#include "common/net/keys.h"
#include "tests/support/temp_dir.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace capstan::net {
namespace {

std::string content_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

unsigned mode_of(const std::string& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 0777U;
}

Access an_access() {
  Access access;
  access.cluster = Uuid::random();
  access.role = Role::Worker;
  access.name = "w1";
  access.keys = make_key_pair();
  access.masters = {{"a", {"127.0.0.1:7741", "[::1]:7741"}, make_key_pair().public_key},
                    {"b", {"node7:7741"}, make_key_pair().public_key}};
  return access;
}

void replace_file(const std::string& path, const std::string& text) {
  REQUIRE(write_file_durably(path, text, 0600));
}

}  // namespace

TEST_SUITE("common/net/keys") {
  TEST_CASE("key pairs are Z85 and never the same") {
    const KeyPair one = make_key_pair();
    const KeyPair two = make_key_pair();
    CHECK(is_z85_key(one.public_key));
    CHECK(is_z85_key(one.secret_key));
    CHECK(one.public_key != two.public_key);
    CHECK(one.public_key != one.secret_key);
  }

  TEST_CASE("what is not a key is told") {
    const std::string key = make_key_pair().public_key;
    CHECK_FALSE(is_z85_key(""));
    CHECK_FALSE(is_z85_key(key.substr(1)));
    CHECK_FALSE(is_z85_key(key + "0"));
    CHECK_FALSE(is_z85_key("~" + key.substr(1)));
    CHECK_FALSE(is_z85_key(std::string("\0", 1) + key.substr(1)));
  }

  TEST_CASE("an access file says which list of masters is the newer one") {
    const test::TempDir folder;
    Access access = an_access();
    CHECK(access_text(access).find("members_version") == std::string::npos);
    access.members_version = 7;
    REQUIRE(write_access(folder.file("x"), access));
    CHECK(read_access(folder.file("x"))->members_version == 7);
  }

  TEST_CASE("an access file is read as it was written, and private whatever the umask is") {
    const test::TempDir folder;
    const std::string path = folder.file("admin.access");
    const Access written = an_access();
    const mode_t before = ::umask(0);
    REQUIRE(write_access(path, written));
    ::umask(before);
    CHECK(mode_of(path) == 0600);
    const auto read = read_access(path);
    REQUIRE(read);
    CHECK(read->cluster == written.cluster);
    CHECK(read->role == written.role);
    CHECK(read->name == written.name);
    CHECK(read->keys.public_key == written.keys.public_key);
    CHECK(read->keys.secret_key == written.keys.secret_key);
    CHECK(read->masters == written.masters);
  }

  TEST_CASE("names from a newer version and comments are passed over") {
    const test::TempDir folder;
    const std::string path = folder.file("a");
    REQUIRE(write_access(path, an_access()));
    replace_file(path, "# hello\n\ncolour = blue = green\r\n" + content_of(path) + "  # end");
    CHECK(read_access(path));
  }

  TEST_CASE("a file with something missing or broken is named with its line") {
    const test::TempDir folder;
    const std::string path = folder.file("a");
    REQUIRE(write_access(path, an_access()));
    const std::string good = content_of(path);
    for (const std::string name : {"cluster", "role", "name", "public_key", "secret_key"}) {
      CAPTURE(name);
      const auto begin = good.find("\n" + name + " =") + 1;
      std::string text = good;
      text.erase(begin, good.find('\n', begin) + 1 - begin);
      replace_file(path, text);
      const auto missing = read_access(path);
      REQUIRE_FALSE(missing);
      CHECK(missing.error().message.find(path) != std::string::npos);
      CHECK(missing.error().message.find(name + " = ") != std::string::npos);
    }
    for (const std::string& line : std::initializer_list<std::string>{
             "no equals sign", "cluster = 12", "role = king", "public_key = short", "master = a",
             "master = a short a:1", "master = a " + std::string(40, '0') + " nohost"}) {
      CAPTURE(line);
      replace_file(path, line + "\n" + good);
      const auto broken = read_access(path);
      REQUIRE_FALSE(broken);
      CHECK(broken.error().code == Errc::Corrupt);
      CHECK(broken.error().message.find(path + ":1") != std::string::npos);
    }
  }

  TEST_CASE("a secret that others may read is refused with the way out, an invitation is not") {
    const test::TempDir folder;
    const std::string path = folder.file("a");
    Access access = an_access();
    REQUIRE(write_access(path, access));
    REQUIRE(::chmod(path.c_str(), 0640) == 0);
    const auto refused = read_access(path);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message.find("chmod 600 " + path) != std::string::npos);
    access.role = Role::Enrolment;
    REQUIRE(write_access(path, access));
    REQUIRE(::chmod(path.c_str(), 0644) == 0);
    CHECK(read_access(path));
  }

  TEST_CASE("what is no file, not there or far too large is refused") {
    const test::TempDir folder;
    const auto absent = read_access(folder.file("none"));
    REQUIRE_FALSE(absent);
    CHECK(absent.error().code == Errc::NotFound);
    CHECK_FALSE(read_access(folder.path()));
    replace_file(folder.file("large"), std::string(2 * 1024 * 1024, '#'));
    CHECK_FALSE(read_access(folder.file("large")));
  }

  TEST_CASE(
      "a file is replaced whole, with the mode that was asked for, and nothing is left over") {
    const test::TempDir folder;
    const std::string path = folder.file("f");
    const std::string large(300'000, 'x');
    REQUIRE(write_file_durably(path, "one", 0644));
    REQUIRE(write_file_durably(path, large, 0600));
    CHECK(content_of(path) == large);
    CHECK(mode_of(path) == 0600);
    REQUIRE(std::filesystem::create_directory(folder.file("d")));
    CHECK_FALSE(write_file_durably(folder.file("d"), "x", 0600));
    CHECK_FALSE(write_file_durably(folder.file("none/f"), "x", 0600));
    std::size_t entries = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      ++entries;
    }
    CHECK(entries == 2);
  }
}

}  // namespace capstan::net
