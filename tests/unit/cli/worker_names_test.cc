// SPDX-License-Identifier: MIT
#include "cli/worker_names.h"

#include <doctest/doctest.h>

namespace capstan::cli {
namespace {

using Names = std::vector<std::string>;

TEST_SUITE_BEGIN("cli/worker_names");

TEST_CASE("brackets stand for numbers, as wide as they are written") {
  CHECK(expand_brackets("w1") == Names{"w1"});
  CHECK(expand_brackets("node[1-3]") == Names{"node1", "node2", "node3"});
  CHECK(expand_brackets("node[09-11,60]") == Names{"node09", "node10", "node11", "node60"});
  CHECK(expand_brackets("r[1-2]n[7]x") == Names{"r1n7x", "r2n7x"});
}

TEST_CASE("names with numbers are in the order of these") {
  CHECK(comes_before("w2", "w10"));
  CHECK_FALSE(comes_before("w10", "w2"));
  CHECK(comes_before("node2-a", "node10"));
  CHECK(comes_before("a", "a1"));
  CHECK(comes_before("a9", "b1"));
  CHECK_FALSE(comes_before("w1", "w1"));
  CHECK(comes_before("w01", "w1") != comes_before("w1", "w01"));
}

TEST_CASE("what no number is, is refused before anything is asked") {
  for (const char* bad : {"a[", "a[]", "a[1-]", "a[2-1]", "a[x]", "a[1,]", "a[1-9999999]",
                          "a[1-4000]b[1-4000]", "a[-1]"}) {
    CAPTURE(bad);
    const auto expanded = expand_brackets(bad);
    REQUIRE_FALSE(expanded.has_value());
    CHECK(expanded.error().exit_code == kExitUsage);
  }
}

TEST_CASE("names and patterns choose known workers, each once; a word that names none is refused") {
  const Names known = {"node1", "node2", "gpu1"};
  CHECK(chosen_workers({"node*", "node1"}, known) == Names{"node1", "node2"});
  CHECK(chosen_workers({"gpu?", "node[2-2]"}, known) == Names{"gpu1", "node2"});
  const auto missing = chosen_workers({"node[1-3]"}, known);
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().exit_code == kExitRefused);
  CHECK(missing.error().message.find("node3") != std::string::npos);
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::cli
