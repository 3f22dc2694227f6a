// SPDX-License-Identifier: MIT
#include "common/base/descriptors.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

namespace capstan {

std::optional<rlimit> raise_descriptor_limit() {
  constexpr rlim_t kDescriptors = 65'536;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  const rlimit before = limit;
  limit.rlim_cur = std::min(limit.rlim_max, kDescriptors);
  if (before.rlim_cur >= limit.rlim_cur) return {};
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  return before;
}

void fill_standard_descriptors() {
  int fd = ::open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO) fd = ::open("/dev/null", O_RDWR);
  if (fd >= 0) ::close(fd);
}

}  // namespace capstan
