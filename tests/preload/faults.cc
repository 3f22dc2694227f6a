// SPDX-License-Identifier: MIT
//
// Preloaded into our programs by tests (LD_PRELOAD): a disk that fails and a wall clock that is
// wrong. Only tests build it, nothing of ours links it.
//
//   CAPSTAN_TEST_DISK=FILE   while FILE exists, its second word ("write", "sync") fails with EIO on
//                            files whose name ends with its first word
//   CAPSTAN_TEST_CLOCK=FILE  the wall clock is so many microseconds off as FILE says (8 bytes,
//                            native order, read at every look)
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace {

constexpr std::int64_t kMicros = 1'000'000;
constexpr std::size_t kPathBytes = 4096;

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

/// Neither allocates nor locks: it runs inside anything.
bool is_failing(int fd, const char* doing) {
  const char* control = std::getenv("CAPSTAN_TEST_DISK");
  if (control == nullptr) return false;
  const int file = ::open(control, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  char suffix[256] = {};
  const ssize_t size = ::read(file, suffix, sizeof suffix - 1);
  ::close(file);
  if (size <= 0) return false;
  if (std::strstr(suffix, doing) == nullptr) return false;
  suffix[std::strcspn(suffix, " \n")] = '\0';
  char link[64] = "/proc/self/fd/";
  char* end = link + std::strlen(link);
  char digits[16];
  int count = 0;
  for (int rest = fd; rest > 0 || count == 0; rest /= 10)
    digits[count++] = static_cast<char>('0' + rest % 10);
  while (count > 0) *end++ = digits[--count];
  char path[kPathBytes] = {};
  const ssize_t length = ::readlink(link, path, sizeof path - 1);
  const std::size_t tail = std::strlen(suffix);
  return length >= static_cast<ssize_t>(tail) && std::strcmp(path + length - tail, suffix) == 0;
}

template <class Call>
auto unless_failing(int fd, const char* doing, Call call) -> decltype(call()) {
  if (!is_failing(fd, doing)) return call();
  errno = EIO;
  return -1;
}

std::int64_t clock_offset_us() {
  static const volatile std::int64_t* offset = []() -> const volatile std::int64_t* {
    const char* path = std::getenv("CAPSTAN_TEST_CLOCK");
    const int file = path == nullptr ? -1 : ::open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return nullptr;
    void* mapped = ::mmap(nullptr, sizeof(std::int64_t), PROT_READ, MAP_SHARED, file, 0);
    ::close(file);
    return mapped == MAP_FAILED ? nullptr : static_cast<std::int64_t*>(mapped);
  }
  ();
  return offset == nullptr ? 0 : *offset;
}

std::int64_t wall_us() {
  timespec now{};
  next<int(clockid_t, timespec*)>("clock_gettime")(CLOCK_REALTIME, &now);
  return now.tv_sec * kMicros + now.tv_nsec / 1000 + clock_offset_us();
}

}  // namespace

extern "C" {

ssize_t write(int fd, const void* bytes, size_t size) {
  static auto* real = next<ssize_t(int, const void*, size_t)>("write");
  return unless_failing(fd, "write", [&] { return real(fd, bytes, size); });
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t at) {
  static auto* real = next<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  return unless_failing(fd, "write", [&] { return real(fd, bytes, size, at); });
}

ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t at) {
  static auto* real = next<ssize_t(int, const void*, size_t, off64_t)>("pwrite64");
  return unless_failing(fd, "write", [&] { return real(fd, bytes, size, at); });
}

int fsync(int fd) {
  static auto* real = next<int(int)>("fsync");
  return unless_failing(fd, "sync", [&] { return real(fd); });
}

int fdatasync(int fd) {
  static auto* real = next<int(int)>("fdatasync");
  return unless_failing(fd, "sync", [&] { return real(fd); });
}

int clock_gettime(clockid_t clock, timespec* now) noexcept {
  static auto* real = next<int(clockid_t, timespec*)>("clock_gettime");
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return real(clock, now);
  const std::int64_t us = wall_us();
  *now = {us / kMicros, us % kMicros * 1000};
  return 0;
}

int gettimeofday(timeval* now, void* /*zone*/) noexcept {
  const std::int64_t us = wall_us();
  *now = {us / kMicros, us % kMicros};
  return 0;
}

time_t time(time_t* now) noexcept {
  const time_t seconds = wall_us() / kMicros;
  if (now != nullptr) *now = seconds;
  return seconds;
}

}  // extern "C"
