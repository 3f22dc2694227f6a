// SPDX-License-Identifier: MIT
//
// One end of a session: who numbers what it sends and notices what is missing. The same on both
// sides. Pure. The rule (architecture.md, section 6): every message carries {session, n}; an
// unknown session, or a gap or repeat of n, ends it.
#pragma once

#include <cstdint>

#include "common/base/ids.h"

namespace capstan::wire {

class SessionEnd {
 public:
  SessionEnd() = default;
  explicit SessionEnd(SessionId id) : id_(id) {}

  [[nodiscard]] bool is_open() const { return id_.value != 0; }
  [[nodiscard]] SessionId id() const { return id_; }
  /// The number for the next message out.
  std::uint64_t next_out() { return ++sent_; }
  [[nodiscard]] std::uint64_t sent() const { return sent_; }
  [[nodiscard]] std::uint64_t seen() const { return seen_; }
  /// True when {session, n} is the next in order; false: the session is over, close() it.
  [[nodiscard]] bool accept(SessionId session, std::uint64_t n) {
    if (!is_open() || session != id_ || n != seen_ + 1) return false;
    ++seen_;
    return true;
  }
  void close() {
    id_ = SessionId{};
    sent_ = seen_ = 0;
  }

 private:
  SessionId id_;
  std::uint64_t sent_ = 0;
  std::uint64_t seen_ = 0;
};

}  // namespace capstan::wire
