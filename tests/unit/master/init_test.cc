// SPDX-License-Identifier: MIT
#include "master/init.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "common/net/keys.h"
#include "master/state_dir.h"
#include "master/store/sqlite_store.h"
#include "master/store/vote_file.h"
#include "tests/support/temp_dir.h"

namespace capstan::test {
namespace {

namespace fs = std::filesystem;

InitOptions options_for(const std::string& dir) {
  InitOptions options;
  options.dir = dir;
  options.masters = {{"a", {"node1:7741"}}, {"b", {"node2:7741"}}};
  options.witnesses = {{"w", {"node3:7741"}}};
  return options;
}

Vote vote_in(const std::string& dir) {
  const auto file = store::VoteFile::open(dir + "/capstan.vote");
  REQUIRE(file);
  return file->vote();
}

struct Refused {
  Errc code;
  std::string message;
};
/// And nothing was made.
Refused refusal_of(const InitOptions& options, const TempDir& dir) {
  const auto before = std::distance(fs::directory_iterator(dir.path()), {});
  const auto made = init_cluster(options);
  REQUIRE_FALSE(made);
  CHECK(std::distance(fs::directory_iterator(dir.path()), {}) == before);
  return {made.error().code, made.error().message};
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A single master that was used: its keys, an empty queue, what it voted.
struct Old {
  std::string path;
  net::Access server, admin;
  Generation generation{5, 7};
  explicit Old(const TempDir& dir) : path(dir.path() + "/old") {
    auto opened = StateDir::open(path);
    REQUIRE(opened);
    REQUIRE(opened->tell_addresses({{"a", {"node1:7741"}, opened->server().keys.public_key}}));
    server = opened->server();
    admin = opened->admin();
    store::Opened found;
    const auto store =
        store::SqliteStore::open({path, 11, {}, server.cluster, Uuid::random(), generation}, found);
    REQUIRE(store);
    REQUIRE((*store)->close());
    Vote vote;
    vote.promised = Epoch(257);
    vote.reg = {Epoch(257), 1, 1, {1}};
    vote.nonce = 11;
    vote.fresh = false;
    REQUIRE(store::VoteFile::create(opened->vote_file(), vote));
    fs::create_directory(path + "/logs");
    std::ofstream(path + "/logs/17.pack") << "output";
  }
};

}  // namespace

TEST_SUITE("master/init") {
  TEST_CASE("places are read, with several addresses of a node") {
    const auto places = parse_places("a=node1:7741,b=node2:7741,10.0.0.2:7741");
    REQUIRE(places);
    REQUIRE(places->size() == 2);
    CHECK((*places)[0].addresses == std::vector<std::string>{"node1:7741"});
    CHECK((*places)[1].name == "b");
    CHECK((*places)[1].addresses == std::vector<std::string>{"node2:7741", "10.0.0.2:7741"});
    CHECK_FALSE(parse_places("node1:7741"));
  }

  TEST_CASE("every node has a directory that opens, and the same voters and votes") {
    const TempDir dir;
    const auto warnings = init_cluster(options_for(dir.path() + "/c"));
    REQUIRE(warnings);
    CHECK(warnings->empty());
    std::vector<Member> members;
    for (const std::string name : {"a", "b", "w"}) {
      CAPTURE(name);
      const auto node = StateDir::open(dir.path() + "/c/" + name);
      REQUIRE(node);
      REQUIRE(node->cluster());
      CHECK(node->cluster()->own().member.name == name);
      CHECK(node->voters() == std::vector<Voter>{{1, "a", false}, {2, "b", false}, {3, "w", true}});
      CHECK(node->is_witness() == (name == "w"));
      CHECK(node->server().masters == node->cluster()->masters());
      CHECK(node->members_version() == 2);
      CHECK(fs::exists(node->admin_access()) == (name != "w"));
      CHECK(fs::exists(node->worker_access()) == (name != "w"));
      const Vote vote = vote_in(node->path());
      CHECK(vote == Vote{Epoch(0), Register{Epoch(0), 0, 0, {1, 2}}, 0, true});
      members = node->cluster()->masters();
    }
    const auto admin = net::read_access(dir.path() + "/c/admin.access");
    REQUIRE(admin);
    CHECK(admin->masters == members);
    CHECK(admin->members_version == 2);
    const auto own = net::read_access(dir.path() + "/c/b/admin.access");
    REQUIRE(own);
    CHECK(own->keys.public_key == admin->keys.public_key);
    CHECK(net::read_access(dir.path() + "/c/worker.access")->role == Role::Enrolment);
  }

  TEST_CASE("a directory with another node's key is refused") {
    const TempDir dir;
    REQUIRE(init_cluster(options_for(dir.path() + "/c")));
    fs::copy_file(dir.path() + "/c/a/master.key", dir.path() + "/c/b/master.key",
                  fs::copy_options::overwrite_existing);
    const auto node = StateDir::open(dir.path() + "/c/b");
    REQUIRE_FALSE(node);
    CHECK(node.error().code == Errc::Invalid);
    CHECK(has(node.error().message, "whole directory"));
  }

  TEST_CASE("what cannot be a cluster is refused, and nothing is made") {
    const TempDir dir;
    const auto refused = [&](auto change) {
      InitOptions options = options_for(dir.path() + "/c");
      change(options);
      const Refused why = refusal_of(options, dir);
      CHECK(why.code == Errc::Invalid);
      return why.message;
    };
    CHECK(has(refused([](auto& o) { o.masters.pop_back(); }), "two"));
    CHECK(has(refused([](auto& o) { o.masters[1].name = "a"; }), "two nodes are called 'a'"));
    CHECK(has(refused([](auto& o) { o.witnesses[0].name = "b"; }), "two nodes are called 'b'"));
    CHECK(has(refused([](auto& o) { o.masters[1].name = "b/c"; }), "no name"));
    CHECK(has(refused([](auto& o) { o.witnesses[0].addresses = {"node1:7741"}; }), "twice"));
    CHECK(has(refused([](auto& o) { o.masters[1].addresses = {"node2:0"}; }), "port"));
    CHECK(has(refused([](auto& o) { o.masters[1].addresses = {"0.0.0.0:7741"}; }), "dial"));
    CHECK(has(refused([](auto& o) { o.masters[1].addresses = {"node2"}; }), "HOST:PORT"));
    CHECK(has(refused([](auto& o) { o.witnesses.push_back({"v", {"node4:1"}}); }), "one"));
    CHECK(has(refused([](auto& o) { o.witnesses.clear(); }), "--witness w=HOST:PORT"));
    CHECK(has(refused([&](auto& o) { o.adopt = dir.path() + "/none"; }), "master.key"));
  }

  TEST_CASE("what is there is left as it is; an empty directory may be there") {
    const TempDir dir;
    const InitOptions options = options_for(dir.path() + "/c");
    fs::create_directory(options.dir);
    std::ofstream(options.dir + "/mine") << "x";
    CHECK(refusal_of(options, dir).code == Errc::NotAllowed);
    fs::remove(options.dir + "/mine");
    REQUIRE(init_cluster(options));
    CHECK(refusal_of(options, dir).code == Errc::NotAllowed);
  }

  TEST_CASE("nodes on one machine are told") {
    const TempDir dir;
    InitOptions options = options_for(dir.path() + "/c");
    options.masters[1].addresses = {"node1:7742"};
    const auto warnings = init_cluster(options);
    REQUIRE(warnings);
    REQUIRE(warnings->size() == 1);
    CHECK(has((*warnings)[0], "a and b are on one machine (node1)"));
  }

  TEST_CASE("an adopted master keeps its keys, queue, output and epoch, and starts no more") {
    const TempDir dir;
    const Old old(dir);
    InitOptions options = options_for(dir.path() + "/c");
    options.adopt = old.path;
    const auto warnings = init_cluster(options);
    REQUIRE(warnings);
    CHECK(warnings->empty());
    const auto a = StateDir::open(options.dir + "/a");
    REQUIRE(a);
    CHECK(a->server().keys.public_key == old.server.keys.public_key);
    CHECK(a->server().cluster == old.server.cluster);
    CHECK(a->admin().keys.public_key == old.admin.keys.public_key);
    CHECK(a->cluster()->generation == old.generation);
    CHECK(fs::exists(options.dir + "/a/logs/17.pack"));
    CHECK(fs::exists(options.dir + "/a/capstan.db"));
    CHECK_FALSE(fs::exists(options.dir + "/b/capstan.db"));
    const Register first{Epoch(257), 0, 0, {1}};
    for (const char* name : {"/a", "/b", "/w"}) {
      const Vote vote = vote_in(options.dir + name);
      CHECK(vote.promised == Epoch(257));
      CHECK(vote.reg == first);
      CHECK(vote.fresh);
    }
    CHECK(vote_in(options.dir + "/a").nonce != 11);  // Of the copy, when it was opened.

    const auto again = StateDir::open(old.path);
    REQUIRE_FALSE(again);
    CHECK(again.error().code == Errc::Invalid);
    CHECK(has(again.error().message, options.dir + "/a"));
    options.dir = dir.path() + "/d";
    CHECK(has(refusal_of(options, dir).message, "start that one"));
  }

  TEST_CASE("a running master is not adopted, and one whose address changes is told of") {
    const TempDir dir;
    const Old old(dir);
    InitOptions options = options_for(dir.path() + "/c");
    options.adopt = old.path;
    {
      const auto living = StateDir::open(old.path);
      REQUIRE(living);
      CHECK(refusal_of(options, dir).code == Errc::Locked);
    }
    options.masters[0].addresses = {"elsewhere:7741"};
    const auto warnings = init_cluster(options);
    REQUIRE(warnings);
    REQUIRE(warnings->size() == 1);
    CHECK(has((*warnings)[0], "node1:7741"));
  }

  TEST_CASE("a damaged queue is not adopted") {
    const TempDir dir;
    const Old old(dir);
    std::ofstream(old.path + "/capstan.db") << "not a database, not at all, and long enough";
    InitOptions options = options_for(dir.path() + "/c");
    options.adopt = old.path;
    const auto before = std::distance(fs::directory_iterator(dir.path()), {});
    CHECK_FALSE(init_cluster(options));
    CHECK(std::distance(fs::directory_iterator(dir.path()), {}) == before);
    CHECK_FALSE(fs::exists(old.path + "/adopted"));
  }
}

}  // namespace capstan::test
