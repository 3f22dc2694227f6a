// SPDX-License-Identifier: MIT
#include "worker/exec/cpu_claims.h"

#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>

#include "common/model/limits.h"

namespace capstan {

namespace {

UniqueFd claim(std::uint32_t cpu) {
  UniqueFd name(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!name) return {};
  const std::string text = "capstan/cpu/" + std::to_string(cpu);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;  // A path that begins with NUL is a name of no file.
  std::memcpy(address.sun_path + 1, text.data(), text.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  if (::bind(name.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) return {};
  return name;
}

}  // namespace

std::vector<std::uint32_t> allowed_cpus() {
  std::vector<unsigned char> mask(limits::kCpusPerTask / 8);
  std::vector<std::uint32_t> cpus;
  auto* set = reinterpret_cast<cpu_set_t*>(mask.data());
  if (::sched_getaffinity(0, mask.size(), set) != 0) return cpus;
  for (std::uint32_t cpu = 0; cpu < limits::kCpusPerTask; ++cpu) {
    if (CPU_ISSET_S(cpu, mask.size(), set)) cpus.push_back(cpu);
  }
  return cpus;
}

CpuClaims CpuClaims::take(std::uint32_t count, const std::vector<std::uint32_t>& allowed) {
  CpuClaims claims;
  for (const std::uint32_t cpu : allowed) {
    if (claims.cpus_.size() == count) break;
    UniqueFd name = claim(cpu);
    if (!name) continue;
    claims.cpus_.push_back(cpu);
    claims.names_.push_back(std::move(name));
  }
  if (claims.cpus_.size() < count) claims = CpuClaims();
  return claims;
}

}  // namespace capstan
