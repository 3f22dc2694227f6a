// SPDX-License-Identifier: MIT
//
// How the nodes' views become one, and who is asked for what.
#include "cli/cluster.h"

#include <doctest/doctest.h>

#include "common/json/json.h"
#include "tests/unit/cli/fake_master.h"

using namespace capstan;
using namespace capstan::cli;
using namespace std::chrono_literals;
using test::FakeMaster;

namespace {

constexpr std::uint32_t kStandby = 0, kPrimary = 1, kWitness = 2;

SeenCluster seen_by(const std::string& name, const std::string& primary, Epoch epoch) {
  SeenCluster seen;
  seen.epoch = epoch;
  seen.view.name = name;
  seen.view.primary = primary;
  for (const char* node : {"a", "b", "w"}) {
    msg::NodeView view;
    view.name = node;
    view.role = node == primary ? kPrimary : node == std::string("w") ? kWitness : kStandby;
    view.addresses = {std::string(node) + ":7741"};
    view.reachable = node == name;
    view.seq = Seq(100);
    seen.view.nodes.push_back(view);
  }
  return seen;
}

/// a leads, b stands by; both answer.
struct Pair {
  net::EventLoop loop;
  FakeMaster a{loop};
  FakeMaster b{loop};
  std::vector<std::pair<std::string, msg::ClusterControl>> orders;
  msg::ClusterDone done{0, true, Errc::Unavailable, ""};

  Pair() {
    b.admit(a.client_keys.public_key);
    a.on_cluster = [this](const msg::Body& body) { return answer("a", body); };
    b.on_cluster = [this](const msg::Body& body) { return answer("b", body); };
  }
  msg::Body answer(const std::string& node, const msg::Body& body) {
    if (const auto* ask = std::get_if<msg::AskCluster>(&body)) {
      msg::ClusterView view = seen_by(node, "a", Epoch(257)).view;
      view.query = ask->query;
      return view;
    }
    const auto& order = std::get<msg::ClusterControl>(body);
    orders.emplace_back(node, order);
    done.query = order.query;
    return done;
  }
  std::unique_ptr<ClusterAsker> open(const net::KeyPair& keys, Micros timeout = 20s) {
    net::Access access;
    access.keys = keys;
    access.masters = {a.member("a"), b.member("b")};
    auto asker = ClusterAsker::open(loop, {access, timeout, nullptr});
    REQUIRE(asker);
    return std::move(*asker);
  }
};

}  // namespace

TEST_SUITE("cli/cluster") {
  TEST_CASE(
      "a standby is trusted with a backup only when its primary says that it has everything") {
    auto primary = seen_by("a", "a", Epoch(257));
    const auto standby = seen_by("b", "a", Epoch(257));
    CHECK(standby_in_sync({primary, standby}).empty());
    primary.view.in_sync = true;
    CHECK(standby_in_sync({standby, primary}) == "b");
    CHECK(standby_in_sync({primary}).empty());  // It did not answer.
    CHECK(standby_in_sync({standby}).empty());
    CHECK(standby_in_sync({primary, seen_by("b", "", Epoch(257))}).empty());
    CHECK(standby_in_sync({}).empty());
  }

  TEST_CASE("the primary's view is taken, and of two the one of the higher epoch") {
    const auto standby = seen_by("b", "a", Epoch(257));
    CHECK(merged({standby, seen_by("a", "a", Epoch(257))}).view.name == "a");
    CHECK(merged({seen_by("a", "a", Epoch(257)), seen_by("b", "b", Epoch(514))}).view.name == "b");
    CHECK(merged({seen_by("b", "b", Epoch(514)), seen_by("a", "a", Epoch(257))}).view.name == "b");
    // A standby that heard of a later election does not lead itself.
    CHECK(merged({seen_by("a", "a", Epoch(257)), seen_by("b", "", Epoch(514))}).view.name == "a");
  }

  TEST_CASE("while nobody leads, who answers is up") {
    const auto all = merged({seen_by("a", "", Epoch(257)), seen_by("b", "a", Epoch(257))});
    CHECK_FALSE(all.is_of_primary());
    CHECK(all.view.nodes[0].reachable);
    CHECK(all.view.nodes[1].reachable);
    CHECK_FALSE(all.view.nodes[2].reachable);
  }

  TEST_CASE("JSON has the names that scripts rely on") {
    auto seen = seen_by("a", "a", Epoch(257));
    seen.view.in_sync = true;
    seen.view.nodes.resize(2);
    seen.view.nodes[1].addresses = {"b:1", "c:2"};
    seen.view.nodes[1].lag = 3;
    CHECK(json::line(seen.view, seen.epoch) ==
          R"({"epoch":257,"primary":"a","in_sync":true,"solo":false,"nodes":[)"
          R"({"name":"a","role":"primary","address":"a:7741","reachable":true,"seq":100,"lag":0},)"
          R"({"name":"b","role":"standby","address":"b:1,c:2","reachable":false,)"
          R"("seq":100,"lag":3}]})");
    CHECK(json::line(seen_by("b", "", Epoch(1)).view, Epoch(1)).find(R"("primary":null)") !=
          std::string::npos);
  }

  TEST_CASE("people read who leads, and what is at risk") {
    auto seen = seen_by("a", "a", Epoch(257));
    seen.view.in_sync = true;
    seen.view.failover = 5s;
    seen.view.alarms = {"the witness is away"};
    std::string text = cluster_text(seen, false);
    CHECK(text.find("a leads in epoch 257, in sync; a failover takes up to 5.0s") == 0);
    CHECK(text.find("at risk now: nothing") != std::string::npos);
    CHECK(text.find("ALARM: the witness is away") != std::string::npos);
    CHECK(text.find("witness") != std::string::npos);
    seen.view.in_sync = false;
    seen.view.solo = true;
    seen.view.at_risk = "what was acknowledged since";
    CHECK(cluster_text(seen, false).find("at risk now: what was") != std::string::npos);
    text = cluster_text(seen_by("b", "", Epoch(257)), false);
    CHECK(text.find("nobody leads, as b sees it") == 0);
  }

  TEST_CASE("a planned failover is the primary's business, one with losses its successor's") {
    const std::vector<SeenCluster> both = {seen_by("a", "a", Epoch(257)),
                                           seen_by("b", "a", Epoch(257))};
    const std::vector<SeenCluster> left = {seen_by("b", "a", Epoch(257))};
    CHECK(whom_to_ask(both, "", false).value() == "a");
    CHECK(whom_to_ask(left, "", false).error().exit_code == kExitUnavailable);
    CHECK(whom_to_ask(left, "", true).value() == "b");
    const std::vector<SeenCluster> alone = {seen_by("a", "a", Epoch(257))};
    CHECK(whom_to_ask(alone, "", true).error().exit_code == kExitUnavailable);
    CHECK(whom_to_ask(alone, "", true, true).value() == "a");
    CHECK(whom_to_ask(left, "a", true).error().exit_code == kExitUnavailable);
    const std::vector<SeenCluster> neither = {seen_by("a", "", Epoch(257)),
                                              seen_by("b", "", Epoch(257))};
    CHECK(whom_to_ask(neither, "", true).error().exit_code == kExitUsage);
    CHECK(whom_to_ask(neither, "b", true).value() == "b");
  }

  TEST_CASE("every node is asked, and the order goes to the one that is named") {
    Pair pair;
    const auto asker = pair.open(pair.a.client_keys);
    const auto seen = asker->look();
    REQUIRE(seen);
    REQUIRE(seen->size() == 2);
    CHECK(merged(*seen).view.name == "a");
    CHECK(merged(*seen).epoch == Epoch(257));
    msg::ClusterControl order;
    order.verb = msg::ClusterVerb::SetMinCopies;
    order.value = 2;
    REQUIRE(asker->control("a", order));
    REQUIRE(pair.orders.size() == 1);
    CHECK(pair.orders[0].first == "a");
    CHECK(pair.orders[0].second.value == 2);
    pair.done.ok = false;
    pair.done.code = Errc::NotAllowed;
    pair.done.reason = "only an admin's key may do this";
    const auto refused = asker->control("b", order);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().exit_code == kExitRefused);
    CHECK(refused.error().message == pair.done.reason);
  }

  TEST_CASE("who hands over may be gone before it has answered: then it has begun") {
    net::EventLoop loop;
    auto a = std::make_unique<FakeMaster>(loop);
    int orders = 0;
    a->on_cluster = [&](const msg::Body& body) -> msg::Body {
      if (const auto* ask = std::get_if<msg::AskCluster>(&body)) {
        msg::ClusterView view = seen_by("a", "a", Epoch(257)).view;
        view.query = ask->query;
        return view;
      }
      ++orders;
      loop.post([&] { a.reset(); });
      return msg::ClusterDone{};  // Of another order: it is not heard.
    };
    net::Access access;
    access.keys = a->client_keys;
    access.masters = {a->member("a")};
    const auto asker = ClusterAsker::open(loop, {access, 20s, nullptr});
    REQUIRE(asker);
    REQUIRE((*asker)->look());
    CHECK((*asker)->control("a", msg::ClusterControl{}));
    CHECK(orders == 1);
  }

  TEST_CASE("a node that does not answer is left out; nobody is exit 75, a stranger exit 3") {
    Pair pair;
    pair.b.on_cluster = nullptr;
    const auto asker = pair.open(pair.a.client_keys);
    const auto seen = asker->look();
    REQUIRE(seen);
    CHECK(seen->size() == 1);
    pair.a.on_cluster = nullptr;
    CHECK(pair.open(pair.a.client_keys, 300ms)->look().error().exit_code == kExitUnavailable);
    CHECK(pair.open(net::make_key_pair())->look().error().exit_code == kExitRefused);
  }
}
