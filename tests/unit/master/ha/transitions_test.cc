// SPDX-License-Identifier: MIT
//
// docs/failover.md has the table and a diagram of it: as the code has them, or this fails and
// prints what should stand there.
#include "master/ha/transitions.h"

#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace capstan::ha {
namespace {

std::string table() {
  std::string text = "| from | to | on | because |\n|---|---|---|---|\n";
  for (const Transition& row : transitions())
    text += std::string("| ") + to_string(row.from) + " | " + to_string(row.to) + " | " +
            row.event + " | " + row.sentence + " |\n";
  return text;
}

/// An arrow for each two roles, with all that leads from one to the other.
std::string diagram() {
  std::vector<std::pair<Role, Role>> arrows;
  std::map<std::pair<Role, Role>, std::string> labels;
  for (const Transition& row : transitions()) {
    std::string& label = labels[{row.from, row.to}];
    if (label.empty()) arrows.emplace_back(row.from, row.to);
    label += (label.empty() ? "" : ", ") + std::string(row.event);
  }
  std::string text = "```mermaid\nstateDiagram-v2\n  [*] --> follower\n";
  for (const auto& arrow : arrows)
    text += std::string("  ") + to_string(arrow.first) + " --> " + to_string(arrow.second) + ": " +
            labels[arrow] + "\n";
  return text + "```\n";
}

}  // namespace

TEST_SUITE("master/ha/transitions") {
  TEST_CASE("docs/failover.md has the table and its diagram as they are") {
    std::ifstream file(std::string(CAPSTAN_SOURCE_DIR) + "/docs/failover.md");
    std::stringstream text;
    text << file.rdbuf();
    const std::string docs = text.str();
    REQUIRE_FALSE(docs.empty());
    for (const std::string& part : {table(), diagram()})
      CHECK_MESSAGE(docs.find("\n\n" + part + "\n") != std::string::npos,
                    "docs/failover.md should have:\n"
                        << part);
  }
}

}  // namespace capstan::ha
