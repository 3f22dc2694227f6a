// SPDX-License-Identifier: MIT
//
// A store that passes everything on to another one: for those that look at, or break, some of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "master/store/store.h"

namespace capstan::test {

class PassingStore : public store::Store {
 public:
  explicit PassingStore(store::Store& behind) : behind_(behind) {}

  [[nodiscard]] SealedBatch seal(const store::Batch& batch, const RowChanges& rows) const override {
    return behind_.seal(batch, rows);
  }
  [[nodiscard]] SealedBatch seal_alone(const store::Batch& batch) const override {
    return behind_.seal_alone(batch);
  }
  Result<void> append(const SealedBatch& sealed, const store::Batch& batch,
                      const RowChanges& committed, Seq applied) override {
    return behind_.append(sealed, batch, committed, applied);
  }
  Result<void> flush(const RowChanges& committed, Seq applied) override {
    return behind_.flush(committed, applied);
  }
  [[nodiscard]] std::vector<JournalEnd> journal_ends() const override {
    return behind_.journal_ends();
  }
  Result<std::optional<JournalEnd>> find_end(Seq seq) override { return behind_.find_end(seq); }
  Result<store::JournalBatches> read_batches(const JournalEnd& after, std::size_t bytes) override {
    return behind_.read_batches(after, bytes);
  }
  Result<void> truncate(Seq keep) override { return behind_.truncate(keep); }
  void hold_journal(Seq seq) override { behind_.hold_journal(seq); }
  void release_journal() override { behind_.release_journal(); }
  Result<void> maintain() override { return behind_.maintain(); }
  bool release_ballast() override { return behind_.release_ballast(); }
  Result<bool> give_back() override { return behind_.give_back(); }
  Result<std::optional<RequestRow>> find_request(const Asked& asked) override {
    return behind_.find_request(asked);
  }
  Result<std::optional<TokenRow>> find_token(const std::string& owner,
                                             const std::string& token) override {
    return behind_.find_token(owner, token);
  }
  Result<InputChunk> read_inputs(SubmissionId submission, std::uint64_t ordinal) override {
    return behind_.read_inputs(submission, ordinal);
  }
  Result<std::optional<std::string>> find_owner(JobId job) override {
    return behind_.find_owner(job);
  }
  Result<std::optional<JobOutline>> find_outline(JobId job) override {
    return behind_.find_outline(job);
  }
  Result<std::optional<cmd::JobsDeleted::One>> find_deletable(JobId job) override {
    return behind_.find_deletable(job);
  }
  Result<std::optional<JobId>> last_job_of(const std::string& owner) override {
    return behind_.last_job_of(owner);
  }
  [[nodiscard]] std::uint64_t database_bytes() const override { return behind_.database_bytes(); }

 private:
  store::Store& behind_;
};

}  // namespace capstan::test
