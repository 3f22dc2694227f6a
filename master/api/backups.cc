// SPDX-License-Identifier: MIT
#include "master/api/backups.h"

#include <utility>

#include "common/base/log.h"
#include "common/model/limits.h"

namespace capstan::api {
namespace {

constexpr Micros kKeptUnasked = std::chrono::minutes(2);
constexpr std::size_t kReading = 16;  ///< Pieces on their way.

}  // namespace

void BackupsApi::deny(const Session& session, std::uint64_t query, const Error& error) {
  ledger_.hold(session.id, msg::Denied{RequestId{}, query, error.code, error.message});
}

void BackupsApi::on_read(const Session& session, const msg::ReadBackup& question) {
  if (backups_ == nullptr)
    return deny(session, question.query, {Errc::NotFound, "this master makes no backups"});
  if (!question.backup.is_set()) return begin(session, question.query);
  if (!copy_ || copy_->id != question.backup)
    return deny(session, question.query,
                {Errc::NotFound, "this copy is not there any more: begin the backup again"});
  copy_->asked_at = ledger_.at();
  if (copy_->failed) {
    deny(session, question.query, *copy_->failed);
    backups_->drop(copy_->id);
    copy_.reset();
    return;
  }
  if (copy_->ready) return read(session, question);
  ledger_.hold(session.id, msg::BackupData{question.query, copy_->id, 0, "", 0, ""});
}

void BackupsApi::begin(const Session& session, std::uint64_t query) {
  if (copy_)
    return deny(session, query,
                {Errc::Unavailable, "another backup is being read; try again when it is done"});
  copy_.emplace();
  copy_->asked_at = ledger_.at();
  copy_->id = backups_->make([this](const Uuid& id, const Result<Backups::Made>& made) {
    if (!copy_ || copy_->id != id) return backups_->drop(id);
    if (!made) {
      log::error("backup.failed", {{"reason", made.error().message}});
      copy_->failed = made.error();
      return;
    }
    copy_->ready = true;
    copy_->bytes = made->bytes;
    copy_->digest = made->digest;
    log::info("backup.made", {{"bytes", made->bytes}});
  });
  ledger_.hold(session.id, msg::BackupData{query, copy_->id, 0, "", 0, ""});
}

void BackupsApi::read(const Session& session, const msg::ReadBackup& question) {
  if (copy_->reading >= kReading)
    return deny(session, question.query,
                {Errc::Unavailable, "too many questions at once; wait for answers"});
  ++copy_->reading;
  backups_->read(
      question.backup, question.offset, [this, question, asker = session.id](Result<Bytes> data) {
        if (!copy_ || copy_->id != question.backup) return;
        --copy_->reading;
        Session* to = sessions_.find(asker);
        if (to == nullptr) return;
        if (!data)
          return sessions_.send(*to, msg::Denied{RequestId{}, question.query, data.error().code,
                                                 data.error().message});
        sessions_.send(*to, msg::BackupData{question.query, copy_->id, question.offset,
                                            std::move(*data), copy_->bytes, copy_->digest});
      });
}

void BackupsApi::expire() {
  if (!copy_ || copy_->reading > 0 || ledger_.at() < copy_->asked_at + kKeptUnasked) return;
  if (!copy_->ready && !copy_->failed) return;  // Its end tells.
  backups_->drop(copy_->id);
  copy_.reset();
}

}  // namespace capstan::api
