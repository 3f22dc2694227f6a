// SPDX-License-Identifier: MIT
#include "common/base/dirs.h"
#include "tests/support/temp_dir.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

using namespace capstan;

namespace {

/// Sets an environment variable (or removes it), and puts it back.
class Env {
 public:
  Env(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    value == nullptr ? ::unsetenv(name) : ::setenv(name, value, 1);
  }
  ~Env() { before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

unsigned mode_of(const std::string& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777U;
}

}  // namespace

TEST_SUITE_BEGIN("common/base/dirs");

TEST_CASE("state is kept per machine, where XDG says") {
  const Env home("HOME", "/home/ada");
  {
    const Env xdg("XDG_STATE_HOME", "/var/states");
    CHECK(*default_state_dir("master") == "/var/states/capstan/" + host_name() + "/master");
  }
  for (const char* unusable : {static_cast<const char*>(nullptr), "", "relative"}) {
    const Env xdg("XDG_STATE_HOME", unusable);
    CHECK(*default_state_dir("worker-w1") ==
          "/home/ada/.local/state/capstan/" + host_name() + "/worker-w1");
  }
  const Env xdg("XDG_CONFIG_HOME", nullptr);
  CHECK(*default_config_dir() == "/home/ada/.config/capstan");
}

TEST_CASE("a host name is fit for a file name") {
  CHECK_FALSE(host_name().empty());
  CHECK(host_name().find('/') == std::string::npos);
}

TEST_CASE("a state directory is made with all above it, for its owner alone") {
  const test::TempDir temp;
  const std::string dir = temp.file("a/b//c/");
  REQUIRE(prepare_state_dir(dir));
  CHECK(mode_of(temp.file("a")) == 0700);
  CHECK(mode_of(temp.file("a/b/c")) == 0700);
  REQUIRE(::chmod((temp.file("a")).c_str(), 0755) == 0);
  CHECK(prepare_state_dir(temp.file("a")));
  CHECK(mode_of(temp.file("a")) == 0755);
}

TEST_CASE("what is no directory, or cannot be one, is refused by name") {
  const test::TempDir temp;
  const std::string file = temp.file("file");
  std::ofstream(file) << "x";
  CHECK(prepare_state_dir(file).error().message == file + " is not a directory");
  CHECK_FALSE(prepare_state_dir(file + "/below"));
  CHECK_FALSE(prepare_state_dir("/proc/nowhere/state"));
  CHECK(prepare_state_dir("").error().code == Errc::Invalid);
}

TEST_CASE("network file systems are known by their numbers") {
  CHECK(network_file_system(0x6969) == "NFS");
  CHECK(network_file_system(static_cast<long>(0xFF534D42)) == "SMB");
  CHECK(network_file_system(static_cast<int>(0xFE534D42U)) == "SMB");  // Sign-extended.
  CHECK(network_file_system(0x65735546) == "FUSE");
  CHECK(network_file_system(0xEF53).empty());      // ext4
  CHECK(network_file_system(0x01021994).empty());  // tmpfs
}

TEST_CASE("a second lock is refused with the pid of the first, until that is gone") {
  const test::TempDir temp;
  const std::string file = temp.file("lock");
  {
    const auto first = DirLock::take(file);
    REQUIRE(first);
    const auto second = DirLock::take(file);
    REQUIRE_FALSE(second);
    CHECK(second.error().code == Errc::Locked);
    CHECK(second.error().message.find("process " + std::to_string(::getpid())) !=
          std::string::npos);
  }
  CHECK(DirLock::take(file));
  CHECK(mode_of(file) == 0600);
  CHECK(DirLock::take(temp.file("none/lock")).error().code == Errc::Io);
}

TEST_SUITE_END();
