// SPDX-License-Identifier: MIT
#include "master/store/vote_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string_view>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/little_endian.h"
#include "master/store/files.h"

namespace capstan::store {
namespace {

// docs/storage.md has the layout. Slots lie a page apart, so that no disk tears both.
constexpr std::size_t kSlotStride = 4096;
constexpr std::string_view kSlotMagic = "CAPVOTE1";
constexpr std::size_t kBodyBytes = 8 + 8 + 8 + 8 + 8 + 8 + 1 + 1 + 1 + kVotersMax;
constexpr std::size_t kSlotBytes = kBodyBytes + 4;

std::string encode_slot(const Vote& vote, std::uint64_t counter) {
  CHECK(vote.reg.isr.size() <= kVotersMax);
  std::string slot(kSlotMagic);
  put_int(slot, counter, 8);
  put_int(slot, vote.promised.value, 8);
  put_int(slot, vote.nonce, 8);
  put_int(slot, vote.reg.epoch.value, 8);
  put_int(slot, vote.reg.ver, 8);
  put_int(slot, vote.fresh ? 1 : 0, 1);
  put_int(slot, vote.reg.leader, 1);
  put_int(slot, vote.reg.isr.size(), 1);
  for (const std::uint8_t node : vote.reg.isr) put_int(slot, node, 1);
  slot.resize(kBodyBytes, '\0');
  put_int(slot, crc32c(slot), 4);
  return slot;
}

struct Slot {
  std::uint64_t counter = 0;
  Vote vote;
};

std::optional<Slot> decode_slot(std::string_view bytes) {
  if (bytes.size() < kSlotBytes || !bytes.starts_with(kSlotMagic)) return std::nullopt;
  std::string_view crc = bytes.substr(kBodyBytes, 4);
  if (take_int(crc, 4) != crc32c(bytes.substr(0, kBodyBytes))) return std::nullopt;
  bytes.remove_prefix(kSlotMagic.size());
  Slot slot;
  slot.counter = take_int(bytes, 8);
  slot.vote.promised = Epoch(take_int(bytes, 8));
  slot.vote.nonce = take_int(bytes, 8);
  slot.vote.reg.epoch = Epoch(take_int(bytes, 8));
  slot.vote.reg.ver = take_int(bytes, 8);
  slot.vote.fresh = take_int(bytes, 1) != 0;
  slot.vote.reg.leader = static_cast<std::uint8_t>(take_int(bytes, 1));
  const std::uint64_t isr = take_int(bytes, 1);
  if (isr > kVotersMax) return std::nullopt;
  for (std::uint64_t i = 0; i < isr; ++i) {
    slot.vote.reg.isr.push_back(static_cast<std::uint8_t>(take_int(bytes, 1)));
  }
  return slot;
}

std::string dir_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<VoteFile> VoteFile::create(const std::string& path, const Vote& vote) {
  const std::string part = path + ".new";
  UniqueFd fd(::open(part.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return fail(Errc::Io, "creating " + part + ": " + errno_text(errno));
  std::string bytes = encode_slot(vote, 1);
  bytes.resize(kSlotStride, '\0');
  bytes.resize(2 * kSlotStride, '\0');  // Slot 0 is empty; counter 1 lives in slot 1.
  std::swap_ranges(bytes.begin(), bytes.begin() + kSlotStride, bytes.begin() + kSlotStride);
  TRY(write_at(fd.get(), bytes, 0));
  TRY(sync_data(fd.get()));
  // A link does not replace what is there, as a rename would.
  if (::link(part.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(part.c_str());
    return fail(error == EEXIST ? Errc::Conflict : Errc::Io,
                "creating " + path + ": " + errno_text(error));
  }
  ::unlink(part.c_str());
  TRY(sync_dir(dir_of(path)));
  VoteFile file(std::move(fd), path);
  file.vote_ = vote;
  file.counter_ = 1;
  return file;
}

Result<VoteFile> VoteFile::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) {
    return fail(errno == ENOENT ? Errc::NotFound : Errc::Io,
                "opening " + path + ": " + errno_text(errno));
  }
  std::optional<Slot> newest;
  for (const std::size_t at : {std::size_t{0}, kSlotStride}) {
    const std::string bytes = TRY(read_at(fd.get(), kSlotBytes, at));
    std::optional<Slot> slot = decode_slot(bytes);
    if (slot && (!newest || slot->counter > newest->counter)) newest = std::move(slot);
  }
  if (!newest) {
    return fail(Errc::Corrupt, path +
                                   ": both slots are damaged: this node has forgotten what it "
                                   "voted for and must not vote");
  }
  VoteFile file(std::move(fd), path);
  file.vote_ = std::move(newest->vote);
  file.counter_ = newest->counter;
  return file;
}

Result<void> VoteFile::write(const Vote& vote) {
  const std::uint64_t counter = counter_ + 1;
  const std::string slot = encode_slot(vote, counter);
  Result<void> written = write_at(fd_.get(), slot, counter % 2 * kSlotStride);
  if (written) written = sync_data(fd_.get());
  if (!written) return fail(Errc::OutcomeUnknown, path_ + ": " + written.error().message);
  vote_ = vote;
  counter_ = counter;
  return {};
}

std::uint64_t next_nonce(std::uint64_t nonce) {
  // The step and the finalizer of SplitMix64: one to one, and without short cycles.
  std::uint64_t mixed = nonce + 0x9E37'79B9'7F4A'7C15ULL;
  mixed = (mixed ^ (mixed >> 30U)) * 0xBF58'476D'1CE4'E5B9ULL;
  mixed = (mixed ^ (mixed >> 27U)) * 0x94D0'49BB'1331'11EBULL;
  return mixed ^ (mixed >> 31U);
}

NonceChoice choose_nonce(const Vote& vote, const Nonces& nonces) {
  if (vote.fresh && !nonces.last) return {true, nonces.random};
  const std::uint64_t next = next_nonce(vote.nonce);
  if (nonces.in_database == vote.nonce || nonces.in_database == next) return {true, next};
  return {false, nonces.random};
}

}  // namespace capstan::store
