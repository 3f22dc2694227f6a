// SPDX-License-Identifier: MIT
//
// A Server without other masters: what is durable here is committed.
#pragma once

#include "common/model/limits.h"
#include "common/wire/version.h"
#include "master/api/doors.h"

namespace capstan::test {

class Alone : public api::Replication {
 public:
  [[nodiscard]] bool is_replicated() const override { return false; }
  void ship(const SealedBatch&) override {}
  void written(const JournalEnd&) override {}
  [[nodiscard]] Seq committed() const override { return {}; }
  [[nodiscard]] std::uint32_t level() const override { return kEntryLevel; }
  void min_copies_set(std::uint32_t) override {}
};

}  // namespace capstan::test
