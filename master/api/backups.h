// SPDX-License-Identifier: MIT
//
// Backups as an admin reads them: the first question has a copy made, beside the loop; the others
// read it piece by piece. One copy at a time: it is as large as the database. It is dropped when
// nobody asked for a while. The primary and the standby have one each. Loop thread only.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/wire/message.h"
#include "master/api/doors.h"

namespace capstan::api {

class BackupsApi {
 public:
  /// None: this master makes none.
  explicit BackupsApi(Backups* backups) : backups_(backups) {}

  /// BackupData or Denied, to whoever asked: called once, perhaps later. Nobody may be there then.
  using Reply = std::function<void(msg::Body)>;
  void on_read(const msg::ReadBackup& question, TimePoint now, const Reply& reply);
  /// Now and then: drops what nobody asks for.
  void expire(TimePoint now);

 private:
  struct Copy {
    Uuid id;
    bool ready = false;
    bool was_read = false;  ///< To its end: it is kept only should that have been lost.
    std::uint64_t bytes = 0;
    Bytes digest;
    TimePoint asked_at;
    std::size_t reading = 0;
    std::optional<Error> failed;
  };

  void begin(std::uint64_t query, TimePoint now, const Reply& reply);
  void read(const msg::ReadBackup& question, const Reply& reply);

  Backups* backups_;
  std::optional<Copy> copy_;
};

}  // namespace capstan::api
