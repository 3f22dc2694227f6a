// SPDX-License-Identifier: MIT
#include "worker/exec/job_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "common/base/unique_fd.h"

namespace capstan {

namespace {

std::string job_dir(const std::string& dir, JobId job) {
  return dir + "/" + std::to_string(job.value);
}

Result<void> refuse(const char* doing, const std::string& path) {
  const int error = errno;
  ::unlink(path.c_str());
  return fail(error == ENOSPC || error == EDQUOT ? Errc::DiskFull : Errc::Io,
              std::string(doing) + " " + path + ": " + errno_text(error));
}

Result<void> write_new(const std::string& path, std::string_view bytes, mode_t mode) {
  UniqueFd file(::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, mode));
  if (!file) return refuse("making", path);
  while (!bytes.empty()) {
    const ssize_t put = ::write(file.get(), bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return refuse("writing", path);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

void make_dirs(const std::string& dir, JobId job) {
  ::mkdir(dir.c_str(), 0700);
  ::mkdir(job_dir(dir, job).c_str(), 0700);  // Whether it worked, the next open says.
}

}  // namespace

std::string script_path(const std::string& dir, JobId job) {
  return job_dir(dir, job) + "/script";
}
std::string stdin_path(const std::string& dir, JobId job) {
  return job_dir(dir, job) + "/stdin";
}

Result<void> write_script(const std::string& dir, JobId job, std::string_view bytes) {
  make_dirs(dir, job);
  return write_new(script_path(dir, job), bytes, 0700);
}

Result<void> write_stdin(const std::string& dir, JobId job, std::string_view bytes) {
  make_dirs(dir, job);
  return write_new(stdin_path(dir, job), bytes, 0600);
}

void drop_job_files(const std::string& dir, JobId job) {
  ::unlink(script_path(dir, job).c_str());
  ::unlink(stdin_path(dir, job).c_str());
  ::rmdir(job_dir(dir, job).c_str());
}

void drop_all_job_files(const std::string& dir) {
  std::error_code ignored;
  std::filesystem::remove_all(dir, ignored);
}

}  // namespace capstan
