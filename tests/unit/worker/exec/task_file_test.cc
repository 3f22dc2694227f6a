// SPDX-License-Identifier: MIT
#include "worker/exec/task_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/support/files.h"
#include "tests/support/temp_dir.h"
#include "worker/exec/job_files.h"

namespace capstan {
namespace {

TEST_SUITE("worker/exec/task_file") {
  TEST_CASE("parents are made below the directory, with the user's rights") {
    const test::TempDir dir;
    auto file = TaskFile::open("a/b/out", {.cwd = dir.path(), .umask = 027});
    REQUIRE(file);
    file->write("one ");
    file->write("two");
    CHECK(file->close().empty());
    CHECK(test::text_of(dir.path() + "/a/b/out") == "one two");
    struct stat info {};
    REQUIRE(::stat((dir.path() + "/a/b/out").c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0640);
    REQUIRE(::stat((dir.path() + "/a/b").c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0750);
  }

  TEST_CASE("an absolute path is taken as it is, and what was there is gone") {
    const test::TempDir dir;
    const std::string path = dir.path() + "/x/out";
    for (const char* text : {"a longer text", "short"}) {
      auto file = TaskFile::open(path, {.cwd = "/"});
      REQUIRE(file);
      file->write(text);
      CHECK(file->close().empty());
      CHECK(test::text_of(path) == text);
    }
  }

  TEST_CASE("two that share a file lose nothing") {
    const test::TempDir dir;
    auto one = TaskFile::open("log", {.cwd = dir.path()});
    auto two = TaskFile::open("./log", {.cwd = dir.path()});
    REQUIRE(one);
    REQUIRE(two);
    one->write("1");
    two->write("2");
    one->write("3");
    CHECK(test::text_of(dir.path() + "/log") == "123");
  }

  TEST_CASE("what cannot be opened says why") {
    const test::TempDir dir;
    std::ofstream(dir.path() + "/file") << "x";
    CHECK(TaskFile::open("file/out", {.cwd = dir.path()}).error().message ==
          "cannot write to file/out: Not a directory");
    CHECK(TaskFile::open(".", {.cwd = dir.path()}).error().message ==
          "cannot write to .: Is a directory");
    CHECK(TaskFile::open("out", {.cwd = dir.path() + "/none"}).error().message ==
          "cannot enter " + dir.path() + "/none: No such file or directory");
    CHECK(::access((dir.path() + "/none").c_str(), F_OK) != 0);
    ::mkfifo((dir.path() + "/fifo").c_str(), 0600);
    CHECK(TaskFile::open("fifo", {.cwd = dir.path()}).error().message ==
          "cannot write to fifo: No such device or address");
  }

  TEST_CASE("a disk that is full is told at the end, and nothing more is tried") {
    auto file = TaskFile::open("/dev/full", {.cwd = "/"});
    REQUIRE(file);
    file->write("12345");
    CHECK_FALSE(file->is_open());
    file->write("6");
    CHECK(file->close() == "only 0 bytes were written to /dev/full: No space left on device");
  }

  TEST_CASE("a job's script is executable, and goes with the rest of its files") {
    const test::TempDir dir;
    const std::string jobs = dir.path() + "/jobs";
    REQUIRE(write_script(jobs, JobId(7), "#!/bin/sh\n"));
    REQUIRE(write_stdin(jobs, JobId(7), std::string_view("\0x", 2)));
    REQUIRE(write_stdin(jobs, JobId(8), ""));
    CHECK(::access(script_path(jobs, JobId(7)).c_str(), X_OK) == 0);
    CHECK(test::text_of(stdin_path(jobs, JobId(7))) == std::string("\0x", 2));
    drop_job_files(jobs, JobId(7));
    drop_job_files(jobs, JobId(7));
    CHECK(::access((jobs + "/7").c_str(), F_OK) != 0);
    CHECK(::access(stdin_path(jobs, JobId(8)).c_str(), R_OK) == 0);
    drop_all_job_files(jobs);
    CHECK(::access(jobs.c_str(), F_OK) != 0);
    std::ofstream(jobs) << "in the way";
    CHECK_FALSE(write_script(jobs, JobId(7), "x"));
  }
}

}  // namespace
}  // namespace capstan
