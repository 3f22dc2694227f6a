// SPDX-License-Identifier: MIT
#include "tests/sim/node_snapshots.h"

#include <algorithm>
#include <utility>

namespace capstan::sim {

namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kPieceBytes = 100;
constexpr std::uint64_t kSnapshotBytes = 5 * kPieceBytes;

}  // namespace

NodeSnapshots::NodeSnapshots(Schedule& schedule, NodeDisk& disk, MadeSnapshots& made, Later later)
    : schedule_(schedule), disk_(disk), made_(made), later_(std::move(later)) {}

void NodeSnapshots::make(const Uuid&, std::function<void(Result<Made>)> done) {
  later_(schedule_.between(5ms, 2s), [this, done = std::move(done)] {
    if (std::exchange(fails_, false))
      return done(fail(Errc::Io, "the disk has no room for a snapshot"));
    disk_.settle();
    test::MemoryStore::Copy copy = disk_.copy_committed();
    const Seq seq = copy.applied;
    given_ = "snapshot " + std::to_string(made_.size());
    made_.insert_or_assign(*given_, std::move(copy));
    done(Made{seq, kSnapshotBytes, *given_});
  });
}

void NodeSnapshots::read(const Uuid&, std::uint64_t offset, std::function<void(Bytes)> done) {
  later_(schedule_.between(Micros(50), 5ms), [this, offset, done = std::move(done)] {
    const std::uint64_t left = given_ && offset < kSnapshotBytes ? kSnapshotBytes - offset : 0;
    done(Bytes(std::min(left, kPieceBytes), 's'));
  });
}

std::uint64_t NodeSnapshots::begin_fetch(const msg::SnapshotOffer& offer) {
  if (offer.digest != offer_.digest) have_ = 0;
  offer_ = offer;
  return have_;
}

Result<void> NodeSnapshots::take(const Bytes& data) {
  have_ += data.size();
  if (have_ < offer_.bytes) return {};
  ready_ = offer_.digest;
  have_ = 0;
  return {};
}

bool NodeSnapshots::install() {
  if (ready_.empty()) return false;
  disk_.install(made_.at(std::exchange(ready_, "")));
  disk_.set_nonce(schedule_.rng().next());
  diverged_ = false;
  return true;
}

void NodeSnapshots::lose() {
  have_ = 0;
  offer_ = {};
  ready_.clear();
  diverged_ = false;
}

}  // namespace capstan::sim
