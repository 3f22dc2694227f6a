// SPDX-License-Identifier: MIT
#include "worker/exec/cgroup.h"

#include <doctest/doctest.h>

#include "worker/exec/cpu_claims.h"

namespace capstan {
namespace {

constexpr const char* kMounts =
    "23 1 0:22 / /proc rw shared:5 - proc proc rw\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
    "36 31 0:33 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

TEST_SUITE("worker/exec/cgroup") {
  TEST_CASE("the group's directory is where its hierarchy is mounted") {
    const char* groups = "5:cpuacct,cpu:/c\n4:memory:/a/b\n0::/user.slice/x.service\n";
    CHECK(cgroup_dir(kMounts, groups, "") == "/sys/fs/cgroup/unified/user.slice/x.service");
    CHECK(cgroup_dir(kMounts, groups, "memory") == "/sys/fs/cgroup/memory/a/b");
    CHECK(cgroup_dir(kMounts, groups, "cpu") == "/sys/fs/cgroup/cpu/c");
    CHECK(cgroup_dir(kMounts, groups, "pids").empty());
    CHECK(cgroup_dir(kMounts, "0::/\n", "") == "/sys/fs/cgroup/unified");
    CHECK(cgroup_dir("", groups, "").empty());
    CHECK(cgroup_dir(kMounts, "", "").empty());
  }

  TEST_CASE("in a container only a part of the hierarchy is mounted") {
    const char* mounts = "41 31 0:38 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
    CHECK(cgroup_dir(mounts, "0::/docker/abc/w\n", "") == "/sys/fs/cgroup/w");
    CHECK(cgroup_dir(mounts, "0::/elsewhere\n", "").empty());
  }

  TEST_CASE("a machine has memory") {
    CHECK(usable_memory() > 16ULL * 1024 * 1024);
    CHECK(usable_memory() < 1ULL << 50);
  }
}

TEST_SUITE("worker/exec/cpu_claims") {
  TEST_CASE("what one claims no other gets, until it is gone") {
    REQUIRE_FALSE(allowed_cpus().empty());
    const std::vector<std::uint32_t> cpus = {4000, 4001, 4002};  // Of no machine.
    {
      const CpuClaims one = CpuClaims::take(2, cpus);
      CHECK(one.cpus() == std::vector<std::uint32_t>{4000, 4001});
      CHECK(CpuClaims::take(2, cpus).cpus().empty());
      CHECK(CpuClaims::take(1, cpus).cpus() == std::vector<std::uint32_t>{4002});
      CHECK(CpuClaims::take(4, cpus).cpus().empty());
    }
    CHECK(CpuClaims::take(3, cpus).cpus() == cpus);
  }
}

}  // namespace
}  // namespace capstan
