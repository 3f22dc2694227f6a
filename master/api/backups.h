// SPDX-License-Identifier: MIT
//
// Backups as an admin reads them: the first question has a copy made, beside the loop; the others
// read it piece by piece. One copy at a time: it is as large as the database. It is dropped when
// nobody asked for a while. Loop thread only.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/wire/message.h"
#include "master/api/doors.h"
#include "master/api/ledger.h"
#include "master/api/session.h"

namespace capstan::api {

class BackupsApi {
 public:
  struct Parts {
    Ledger& ledger;
    Sessions& sessions;
    Backups* backups;  ///< None: this master makes none.
  };
  explicit BackupsApi(Parts parts)
      : ledger_(parts.ledger), sessions_(parts.sessions), backups_(parts.backups) {}

  void on_read(const Session& session, const msg::ReadBackup& question);
  /// Now and then: drops what nobody asks for.
  void expire();

 private:
  struct Copy {
    Uuid id;
    bool ready = false;
    std::uint64_t bytes = 0;
    Bytes digest;
    TimePoint asked_at;
    std::size_t reading = 0;
    std::optional<Error> failed;
  };

  void begin(const Session& session, std::uint64_t query);
  void read(const Session& session, const msg::ReadBackup& question);
  void deny(const Session& session, std::uint64_t query, const Error& error);

  Ledger& ledger_;
  Sessions& sessions_;
  Backups* backups_;
  std::optional<Copy> copy_;
};

}  // namespace capstan::api
