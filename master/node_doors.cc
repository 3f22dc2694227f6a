// SPDX-License-Identifier: MIT
#include "master/node_doors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/base/log.h"
#include "common/model/limits.h"
#include "common/net/keys.h"
#include "master/store/files.h"
#include "master/store/snapshot.h"
#include "master/store/sqlite_tables.h"

namespace capstan {
namespace {

constexpr const char* kMade = "snapshot.made";
constexpr const char* kPart = "snapshot.part";
constexpr const char* kOffer = "snapshot.offer";
constexpr const char* kReady = "snapshot.ready";
constexpr const char* kRefused = "snapshot.refused";
constexpr const char* kDiverged = "diverged";
constexpr std::size_t kOfferBytes = 64 * 1024;

/// What tells one snapshot from another: the same contents may be gone on with.
std::string offer_text(const msg::SnapshotOffer& offer) {
  return std::to_string(offer.seq.value) + " " + std::to_string(offer.bytes) + " " + offer.digest;
}

/// The leader's digest in such a text; "": it is none.
Bytes digest_in(const std::string& offer) {
  const std::size_t bytes = offer.find(' ');
  const std::size_t digest = bytes == std::string::npos ? bytes : offer.find(' ', bytes + 1);
  return digest == std::string::npos ? Bytes() : offer.substr(digest + 1);
}

Result<std::string> read_small(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(Errc::NotFound, path + ": " + errno_text(errno));
  return store::read_at(fd.get(), kOfferBytes, 0);
}

}  // namespace

// --- The vote file -------------------------------------------------------------------------------

Result<VoteDoor> VoteDoor::open(const std::string& path) {
  VoteDoor door(path);
  Result<store::VoteFile> file = store::VoteFile::open(path);
  if (file)
    door.file_ = std::move(*file);
  else if (file.error().code != Errc::NotFound)
    return tl::unexpected(std::move(file).error());
  return door;
}

Result<void> VoteDoor::save(const Vote& vote) {
  if (file_) return file_->write(vote);
  file_ = TRY(store::VoteFile::create(path_, vote));
  return {};
}

// --- The other voters ----------------------------------------------------------------------------

Result<std::unique_ptr<PeersDoor>> PeersDoor::open(const Dial& dial, const ClusterFile& cluster,
                                                   std::function<void(NodeId, bool)> told) {
  auto door = std::make_unique<PeersDoor>();
  for (const ClusterNode& node : cluster.nodes) {
    door->addresses_[node.id] = node.member.addresses;
    if (node.id == cluster.self) continue;
    net::ZmqDialer::Handler handler{
        .on_frame = [](std::string_view) {},  // A peer says what it says over its own connection.
        .on_connected = [told, id = node.id] { told(id, true); },
        .on_closed = [told, id = node.id] { told(id, false); },
        .on_refused =
            [name = node.member.name](const Error& error) {
              log::error("peer.refuses", {{"node", name}, {"reason", error.message}});
            },
        .redial_after = limits::kRedialRefused};
    door->dialers_[node.id] = TRY(
        net::ZmqDialer::open(dial.context, dial.loop, node.member, dial.keys, std::move(handler)));
  }
  return door;
}

bool PeersDoor::send(NodeId peer, std::string frame) {
  const auto dialer = dialers_.find(peer);
  return dialer != dialers_.end() && dialer->second->send(std::move(frame));
}

std::vector<std::string> PeersDoor::addresses_of(NodeId node) const {
  const auto known = addresses_.find(node);
  return known == addresses_.end() ? std::vector<std::string>{} : known->second;
}

// --- Snapshots that we give ----------------------------------------------------------------------

Result<std::unique_ptr<SnapshotDoor>> SnapshotDoor::open(const std::string& dir,
                                                         std::function<void()> wake) {
  std::unique_ptr<SnapshotDoor> door(new SnapshotDoor(dir));
  ::unlink(door->path(kMade).c_str());
  door->thread_ =
      std::make_unique<api::ReadThread>(TRY(store::SqliteTables::open(dir)), std::move(wake));
  return door;
}

SnapshotDoor::~SnapshotDoor() {
  stopping_ = true;
  thread_.reset();
  ::unlink(path(kMade).c_str());
}

void SnapshotDoor::make(const Uuid&, std::function<void(Result<Made>)> done) {
  const store::CopyAsk ask{dir_, path(kMade), &stopping_};
  thread_->post([ask, done = std::move(done)](store::Tables&) -> api::Reads::Completion {
    ::unlink(ask.to.c_str());
    const Result<store::Snapshot> snapshot = store::make_snapshot(ask);
    if (!snapshot) return [done, error = snapshot.error()] { done(tl::unexpected(error)); };
    const Made made{snapshot->end.seq, snapshot->file.bytes, snapshot->file.digest};
    return [done, made] { done(made); };
  });
}

void SnapshotDoor::read(const Uuid&, std::uint64_t offset, std::function<void(Bytes)> done) {
  thread_->post([file = path(kMade), offset,
                 done = std::move(done)](store::Tables&) -> api::Reads::Completion {
    const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    Bytes data;
    if (fd) data = store::read_at(fd.get(), limits::kMessageBytes, offset).value_or("");
    return [done, data = std::move(data)] { done(data); };
  });
}

void SnapshotDoor::drop() {
  thread_->post([file = path(kMade)](store::Tables&) -> api::Reads::Completion {
    ::unlink(file.c_str());
    return [] {};
  });
}

// --- The one that we fetch -----------------------------------------------------------------------

std::uint64_t SnapshotDoor::begin_fetch(const msg::SnapshotOffer& offer) {
  const bool same = read_small(path(kOffer)).value_or("") == offer_text(offer);
  if (!same) {
    ::unlink(path(kPart).c_str());
    static_cast<void>(net::write_file_durably(path(kOffer), offer_text(offer), 0600));
  }
  offer_ = offer;
  part_ = UniqueFd(::open(path(kPart).c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  struct stat facts {};
  have_ =
      part_ && ::fstat(part_.get(), &facts) == 0 ? static_cast<std::uint64_t>(facts.st_size) : 0;
  if (have_ >= offer.bytes && part_) {  // Whole, but never verified: not worth trusting.
    if (::ftruncate(part_.get(), 0) == 0) have_ = 0;
  }
  return have_;
}

Result<void> SnapshotDoor::take(const Bytes& data) {
  std::size_t done = 0;
  while (done < data.size()) {
    const ssize_t wrote = ::write(part_.get(), data.data() + done, data.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return fail(Errc::Corrupt, "writing the snapshot: " + errno_text(errno));
    done += static_cast<std::size_t>(wrote);
  }
  have_ += data.size();
  return have_ < offer_.bytes ? Result<void>{} : finish();
}

Result<void> SnapshotDoor::finish() {
  TRY(store::sync_data(part_.get()));  // Behind the rename it counts as verified.
  part_ = UniqueFd();
  const store::DatabaseCopy copy = TRY(store::measure(path(kPart)));
  if (copy.bytes != offer_.bytes || copy.digest != offer_.digest) {
    ::unlink(path(kPart).c_str());
    return fail(Errc::Corrupt, "the snapshot is not what was offered");
  }
  if (::rename(path(kPart).c_str(), path(kReady).c_str()) != 0)
    return fail(Errc::Io, "renaming the snapshot: " + errno_text(errno));
  return store::sync_dir(dir_);
}

void SnapshotDoor::mark_diverged() {
  const auto marked = net::write_file_durably(path(kDiverged), "see the log\n", 0600);
  if (!marked) log::error("disk.failed", {{"reason", marked.error().message}});
}

bool is_marked_diverged(const std::string& dir) {
  return store::exists(dir + "/" + kDiverged);
}

namespace {

/// It is of no use to this program, and must not be met again at the next start.
Result<void> put_out_of_the_way(const std::string& dir, const Error& why) {
  const std::string aside = dir + "/" + kRefused;
  if (::rename((dir + "/" + kReady).c_str(), aside.c_str()) != 0)
    return fail(Errc::Io, "setting the snapshot aside: " + errno_text(errno));
  ::unlink((dir + "/" + kOffer).c_str());
  log::error("snapshot.refused", {{"reason", why.message}, {"aside", aside}});
  return store::sync_dir(dir);
}

/// What is wrong is the snapshot, not this machine.
bool is_about_snapshot(Errc code) {
  return code == Errc::Corrupt || code == Errc::Conflict || code == Errc::Invalid ||
         code == Errc::TooNew;
}

}  // namespace

Result<void> install_fetched(const Installing& what) {
  const std::string ready = what.dir + "/" + kReady;
  if (!store::exists(ready)) return {};
  store::InstallAsk ask;
  ask.dir = what.dir;
  ask.file = ready;
  ask.digest = digest_in(read_small(what.dir + "/" + kOffer).value_or(""));
  ask.cluster = what.cluster;
  ask.generation = what.generation;
  ask.db_uuid = Uuid::random();
  ask.nonce = random_number();
  const Result<store::Installed> installed = store::install_snapshot(ask);
  if (!installed) {
    const Error& why = installed.error();
    if (!is_about_snapshot(why.code)) return tl::unexpected(why);
    TRY(put_out_of_the_way(what.dir, why));
    // Only a newer program can follow this leader: a person must know. All else is fetched anew.
    return why.code == Errc::TooNew ? Result<void>(tl::unexpected(why)) : Result<void>();
  }
  ::unlink((what.dir + "/" + kOffer).c_str());
  ::unlink((what.dir + "/" + kRefused).c_str());
  ::unlink((what.dir + "/" + kDiverged).c_str());
  log::info("snapshot.installed", {{"seq", installed->end.seq.value}, {"aside", installed->aside}});
  return {};
}

}  // namespace capstan
