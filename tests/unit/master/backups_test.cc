// SPDX-License-Identifier: MIT
//
// Reading a backup from a master: one copy at a time, an admin's alone.
#include <algorithm>
#include <utility>
#include <vector>

#include "tests/support/quiet.h"
#include "tests/unit/master/server_fixture.h"

namespace capstan::test {
namespace {

using namespace std::chrono_literals;

class FakeBackups final : public api::Backups {
 public:
  Uuid make(Done done) override {
    making.emplace_back(an_id(++count), std::move(done));
    return an_id(count);
  }
  void read(const Uuid&, std::uint64_t offset, std::function<void(Result<Bytes>)> done) override {
    done(Bytes("0123456789").substr(offset, 4));
  }
  void drop(const Uuid& id) override { dropped.push_back(id); }
  void finish(Result<Made> made) {
    auto [id, done] = std::move(making.back());
    making.pop_back();
    done(id, made);
  }
  std::vector<std::pair<Uuid, Done>> making;
  std::vector<Uuid> dropped;
  std::uint64_t count = 0;
};

struct BackupBench : Bench {
  BackupBench() {
    server.reset();
    memory.crash();
    begin({store, listener, reads, logs, keys, host, clock, alone, &backups});
  }
  msg::BackupData ask(Peer& peer, msg::ReadBackup question) {
    peer.send(std::move(question));
    turn();
    return peer.expect<msg::BackupData>();
  }
  FakeBackups backups;
};

TEST_SUITE_BEGIN("master/backups");

TEST_CASE("a copy is made, read piece by piece, and dropped when nobody asks") {
  BackupBench bench;
  Peer admin = bench.client("root", Role::Admin);
  const msg::BackupData begun = bench.ask(admin, {1, {}, 0});
  REQUIRE(begun.backup.is_set());
  CHECK(begun.total == 0);
  CHECK(bench.ask(admin, {2, begun.backup, 0}).total == 0);  // Not ready yet.
  bench.backups.finish(api::Backups::Made{10, Bytes(32, 'd')});
  Bytes all;
  while (all.size() < 10) {
    const msg::BackupData piece = bench.ask(admin, {3, begun.backup, all.size()});
    CHECK(piece.total == 10);
    CHECK(piece.offset == all.size());
    CHECK(piece.digest == Bytes(32, 'd'));
    all += piece.data;
    if (all.size() == 10) break;
    admin.send(msg::ReadBackup{4, {}, 0});
    bench.turn();
    CHECK(admin.expect<msg::Denied>().code == Errc::Unavailable);  // One at a time.
  }
  CHECK(all == "0123456789");
  bench.pass(Micros(3min));
  CHECK(bench.backups.dropped == std::vector{begun.backup});
  Peer later = bench.client("root", Role::Admin);
  later.send(msg::ReadBackup{5, begun.backup, 0});
  bench.turn();
  CHECK(later.expect<msg::Denied>().code == Errc::NotFound);
}

TEST_CASE("one that was read to its end makes room for the next one") {
  BackupBench bench;
  Peer admin = bench.client("root", Role::Admin);
  const msg::BackupData first = bench.ask(admin, {1, {}, 0});
  bench.backups.finish(api::Backups::Made{10, Bytes(32, 'd')});
  for (const std::uint64_t offset : {0, 4, 8}) (void)bench.ask(admin, {2, first.backup, offset});
  const msg::BackupData next = bench.ask(admin, {3, {}, 0});
  CHECK(next.backup.is_set());
  CHECK(next.backup != first.backup);
  CHECK(bench.backups.dropped == std::vector{first.backup});
}

TEST_CASE("a copy that fails is told") {
  BackupBench bench;
  Peer admin = bench.client("root", Role::Admin);
  const msg::BackupData begun = bench.ask(admin, {1, {}, 0});
  bench.backups.finish(fail(Errc::DiskFull, "copying the database: disk full"));
  admin.send(msg::ReadBackup{2, begun.backup, 0});
  bench.turn();
  CHECK(admin.expect<msg::Denied>().code == Errc::DiskFull);
  CHECK(bench.ask(admin, {3, {}, 0}).backup.is_set());  // And may be tried again.
}

TEST_CASE("a user may not read backups") {
  BackupBench bench;
  Peer user = bench.client("ann");
  user.send(msg::ReadBackup{1, {}, 0});
  bench.turn();
  CHECK(user.expect<msg::Refused>().code == Errc::NotAllowed);
  CHECK(bench.backups.making.empty());
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
