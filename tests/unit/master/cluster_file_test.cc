// SPDX-License-Identifier: MIT
#include "master/cluster_file.h"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "common/net/keys.h"
#include "tests/support/temp_dir.h"

namespace capstan::test {
namespace {

ClusterNode a_node(NodeId id, const std::string& name, bool is_witness) {
  return {id, is_witness, {name, {name + "host:7741"}, net::make_key_pair().public_key}};
}

ClusterFile a_cluster() {
  ClusterFile file;
  file.cluster = Uuid::random();
  file.generation = {1'764'000'000'000'000, 99};
  file.self = 2;
  file.nodes = {a_node(1, "a", false), a_node(2, "b", false), a_node(3, "w", true)};
  return file;
}

std::string text_of(const TempDir& dir) {
  std::ifstream in(dir.path() + "/cluster");
  return {std::istreambuf_iterator<char>(in), {}};
}

/// What is said when `from` is replaced by `to` in a good file.
std::string complaint(const std::string& from, const std::string& to) {
  const TempDir dir;
  REQUIRE(write_cluster_file(dir.path(), a_cluster()));
  std::string text = text_of(dir);
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
  std::ofstream(dir.path() + "/cluster") << text;
  const auto read = read_cluster_file(dir.path());
  REQUIRE_FALSE(read);
  CHECK(read.error().code == Errc::Corrupt);
  return read.error().message;
}

}  // namespace

TEST_SUITE("master/cluster_file") {
  TEST_CASE("it is read as it was written; none is a single master") {
    const TempDir dir;
    const auto none = read_cluster_file(dir.path());
    REQUIRE(none);
    CHECK_FALSE(none->has_value());
    const ClusterFile written = a_cluster();
    REQUIRE(write_cluster_file(dir.path(), written));
    const auto read = read_cluster_file(dir.path());
    REQUIRE(read);
    REQUIRE(read->has_value());
    CHECK((*read)->cluster == written.cluster);
    CHECK((*read)->generation == written.generation);
    CHECK((*read)->version == kFirstClusterVersion);
    CHECK((*read)->self == 2);
    CHECK((*read)->nodes == written.nodes);
    CHECK((*read)->own().member.name == "b");
  }

  TEST_CASE("all nodes vote, and those with a queue are dialled") {
    const ClusterFile file = a_cluster();
    CHECK(file.voters() == std::vector<Voter>{{1, "a", false}, {2, "b", false}, {3, "w", true}});
    REQUIRE(file.masters().size() == 2);
    CHECK(file.masters()[1].name == "b");
  }

  TEST_CASE("what is not whole is refused, with the place") {
    CHECK(complaint("self = b", "self = c").find("self") != std::string::npos);
    CHECK(complaint("node = b 2", "node = b 1").find("ascend") != std::string::npos);
    CHECK(complaint("node = b 2", "node = b two").find("/cluster:8:") != std::string::npos);
    CHECK(complaint("node = w 3 witness", "node = w 3 judge").find("data or witness") !=
          std::string::npos);
    CHECK(complaint("node = b 2", "node = a 2").find("same name") != std::string::npos);
    CHECK(complaint("node = a 1 data", "node = a 1 witness").find("queue") != std::string::npos);
    CHECK(complaint("version = 2", "quorum = 2").find("unknown") != std::string::npos);
  }

  TEST_CASE("a node listens at its own address, and at every one when that is a name") {
    const auto listen = [](const std::string& address) {
      const TempDir dir;
      ClusterFile file = a_cluster();
      file.nodes[1].member.addresses = {address, "other:1"};
      REQUIRE(write_cluster_file(dir.path(), file));
      return default_listen(dir.path(), "none").value();
    };
    CHECK(listen("10.0.0.2:7741") == "10.0.0.2:7741");
    CHECK(listen("[2001:db8::2]:7741") == "[2001:db8::2]:7741");
    CHECK(listen("localhost:7741") == "localhost:7741");
    CHECK(listen("node2.example.org:7000") == "0.0.0.0:7000");
    const TempDir dir;
    CHECK(default_listen(dir.path(), "127.0.0.1:7741").value() == "127.0.0.1:7741");
  }

  TEST_CASE("nodes that share a machine are named") {
    const auto on = [](const char* name, const char* address) {
      return Member{name, {address}, ""};
    };
    CHECK(shared_machines({on("a", "n1:7741"), on("b", "n2:7741"), on("w", "n3:7741")}).empty());
    const auto shared = shared_machines({on("a", "n1:1"), on("b", "n2:1"), on("w", "n1:2")});
    REQUIRE(shared.size() == 1);
    CHECK(shared[0] == "a and w are on one machine (n1): when it fails, nobody takes over");
  }

  TEST_CASE("names fit a directory and a word") {
    for (const char* good : {"a", "node-7", "B_2"}) CHECK(is_node_name(good));
    for (const char* bad : {"", ".", "a/b", "a b", "-x", "caf\xc3\xa9"}) {
      CHECK_FALSE(is_node_name(bad));
    }
    CHECK_FALSE(is_node_name(std::string(33, 'a')));
  }
}

}  // namespace capstan::test
