// SPDX-License-Identifier: MIT
//
// What a voter must never forget: the epoch that it promised and the register (docs/failover.md;
// a single master is the leader of a one-voter cluster). A file of its own, not SQLite: a database
// that is set aside must not roll votes back. Two slots, written in turn, each with a counter and a
// CRC; durable before write() returns. A torn write damages one slot: the other is what was before.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/unique_fd.h"
#include "common/model/voting.h"

namespace capstan::store {

class VoteFile {
 public:
  /// Makes the file, whole or not at all. Conflict when there is one.
  static Result<VoteFile> create(const std::string& path, const Vote& vote);
  /// NotFound when there is none; Corrupt when both slots are damaged.
  static Result<VoteFile> open(const std::string& path);

  [[nodiscard]] const Vote& vote() const { return vote_; }
  /// Durable when it returns. Any error means that the process must stop.
  Result<void> write(const Vote& vote);

 private:
  VoteFile(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  UniqueFd fd_;
  std::string path_;
  Vote vote_;
  std::uint64_t counter_ = 0;  ///< Of the slot that vote_ is in.
};

// Nonces tell whether a database is the one that its vote file knows. A start derives the next one
// from the vote file's and writes it into the database, then into the vote file: a crash between
// the two loses nothing. A database that was lost, restored or rolled back gets a random one: one
// derived from its own would meet the vote file's again after some starts.

[[nodiscard]] std::uint64_t next_nonce(std::uint64_t nonce);

/// What a start finds in its database, and a random number.
struct Nonces {
  std::uint64_t in_database = 0;
  Seq last;  ///< Of its journal.
  std::uint64_t random = 0;
};
struct NonceChoice {
  bool is_complete = false;  ///< It is the database that the node last had.
  std::uint64_t nonce = 0;   ///< Of this start.
};
/// A node that never voted and has no entry is complete. Its nonces are random, too: with the vote
/// file that init wrote put back, derived ones would be those of its first starts once more.
[[nodiscard]] NonceChoice choose_nonce(const Vote& vote, const Nonces& nonces);

}  // namespace capstan::store
