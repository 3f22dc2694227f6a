// SPDX-License-Identifier: MIT
#include "worker/exec/task_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace capstan {

namespace {

/// The umask of this process is for its own files.
class UmaskFor {
 public:
  explicit UmaskFor(mode_t umask) : before_(::umask(umask)) {}
  ~UmaskFor() { ::umask(before_); }
  UmaskFor(const UmaskFor&) = delete;
  UmaskFor& operator=(const UmaskFor&) = delete;

 private:
  mode_t before_;
};

/// Each parent that is missing. Whether it worked, the next open says.
void make_parents(int dir, const Bytes& path) {
  for (std::size_t at = path.find('/', 1); at != Bytes::npos; at = path.find('/', at + 1)) {
    ::mkdirat(dir, path.substr(0, at).c_str(), 0777);
  }
}

}  // namespace

Result<TaskFile> TaskFile::open(const Bytes& path, const TaskFilePlace& place) {
  const UniqueFd dir(::open(place.cwd.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir) {
    return fail(Errc::Io, "cannot enter " + printable(place.cwd) + ": " + errno_text(errno));
  }
  const UmaskFor theirs(place.umask);
  // Not blocking: a pipe that nobody reads would stop this worker.
  const int flags = O_CREAT | O_TRUNC | O_APPEND | O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  TaskFile file;
  file.path_ = path;
  file.file_.reset(::openat(dir.get(), path.c_str(), flags, 0666));
  if (!file.file_ && errno == ENOENT) {
    make_parents(dir.get(), path);
    file.file_.reset(::openat(dir.get(), path.c_str(), flags, 0666));
  }
  if (!file.file_) {
    return fail(Errc::Io, "cannot write to " + printable(path) + ": " + errno_text(errno));
  }
  return file;
}

void TaskFile::refuse(int error) {
  failure_ = "only " + std::to_string(written_) + " bytes were written to " + printable(path_) +
             ": " + errno_text(error);
  file_.reset();
}

void TaskFile::write(std::string_view bytes) {
  while (file_ && !bytes.empty()) {
    const ssize_t put = ::write(file_.get(), bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return refuse(errno);
    written_ += static_cast<std::uint64_t>(put);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
}

std::string TaskFile::close() {
  if (file_) {
    const int number = file_.release();
    if (::close(number) != 0 && errno != EINTR) refuse(errno);  // Some file systems say it here.
  }
  return failure_;
}

}  // namespace capstan
