// SPDX-License-Identifier: MIT
#include "master/api/backups.h"

#include <utility>

#include "common/base/log.h"
#include "common/model/limits.h"

namespace capstan::api {
namespace {

constexpr Micros kKeptUnasked = std::chrono::minutes(2);
constexpr std::size_t kReading = 16;  ///< Pieces on their way.

msg::Denied denial(std::uint64_t query, const Error& error) {
  return {RequestId{}, query, error.code, error.message};
}

}  // namespace

void BackupsApi::on_read(const msg::ReadBackup& question, TimePoint now, const Reply& reply) {
  const std::uint64_t query = question.query;
  if (backups_ == nullptr)
    return reply(denial(query, {Errc::NotFound, "this master makes no backups"}));
  if (!question.backup.is_set()) return begin(query, now, reply);
  if (!copy_ || copy_->id != question.backup)
    return reply(
        denial(query, {Errc::NotFound, "this copy is not there any more: begin the backup again"}));
  copy_->asked_at = now;
  if (copy_->failed) {
    reply(denial(query, *copy_->failed));
    backups_->drop(copy_->id);
    copy_.reset();
    return;
  }
  if (copy_->ready) return read(question, reply);
  reply(msg::BackupData{query, copy_->id, 0, "", 0, ""});
}

void BackupsApi::begin(std::uint64_t query, TimePoint now, const Reply& reply) {
  if (copy_ && copy_->was_read && copy_->reading == 0) {
    backups_->drop(copy_->id);
    copy_.reset();
  }
  if (copy_)
    return reply(denial(
        query, {Errc::Unavailable, "another backup is being read; try again when it is done"}));
  copy_.emplace();
  copy_->asked_at = now;
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
  reply(msg::BackupData{query, copy_->id, 0, "", 0, ""});
}

void BackupsApi::read(const msg::ReadBackup& question, const Reply& reply) {
  if (copy_->reading >= kReading)
    return reply(denial(question.query,
                        {Errc::Unavailable, "too many questions at once; wait for answers"}));
  ++copy_->reading;
  backups_->read(question.backup, question.offset, [this, question, reply](Result<Bytes> data) {
    if (!copy_ || copy_->id != question.backup) return;
    --copy_->reading;
    if (data && question.offset + data->size() == copy_->bytes) copy_->was_read = true;
    if (!data) return reply(denial(question.query, data.error()));
    reply(msg::BackupData{question.query, copy_->id, question.offset, std::move(*data),
                          copy_->bytes, copy_->digest});
  });
}

void BackupsApi::expire(TimePoint now) {
  if (!copy_ || copy_->reading > 0 || now < copy_->asked_at + kKeptUnasked) return;
  if (!copy_->ready && !copy_->failed) return;  // Its end tells.
  backups_->drop(copy_->id);
  copy_.reset();
}

}  // namespace capstan::api
