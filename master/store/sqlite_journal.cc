// SPDX-License-Identifier: MIT
//
// The journal read again, for people. Part of SqliteTables.
#include <algorithm>

#include "master/store/entry_codec.h"
#include "master/store/sqlite_tables.h"

namespace capstan::store {
namespace {

constexpr const char* kBefore =
    "SELECT first_seq, entries FROM journal WHERE first_seq < ? ORDER BY first_seq DESC";
// From the batch that the first wanted entry is in.
constexpr const char* kBehind =
    "SELECT first_seq, entries FROM journal WHERE first_seq >= ifnull((SELECT max(first_seq) FROM"
    " journal WHERE first_seq <= ?), 0) ORDER BY first_seq";

}  // namespace

Result<Tables::JournalPiece> SqliteTables::read_journal(const JournalAsk& ask) {
  const ReadTransaction transaction = TRY(ReadTransaction::begin(connection_));
  const Seq applied = TRY(applied_seq());
  const Seq end = ask.backward && !ask.end ? applied.next() : std::min(ask.end, applied.next());
  JournalPiece piece;
  const Seq oldest(static_cast<std::uint64_t>(
      TRY(connection_.read_int("SELECT ifnull((SELECT min(first_seq) FROM journal), 1)"))));
  piece.gap = ask.backward ? oldest > Seq(1) : oldest > end.next();
  Statement rows = TRY(connection_.prepare(ask.backward ? kBefore : kBehind));
  rows.put(ask.backward ? end.value : end.value + 1);
  std::size_t bytes = 0;
  while (TRY(rows.next())) {
    if (bytes >= ask.bytes) {
      piece.more = true;
      break;
    }
    rows.skip();
    const std::string_view blob = rows.bytes();
    bytes += blob.size();
    std::vector<Entry> entries = TRY(decode_entries(blob));
    std::erase_if(entries, [&](const Entry& entry) {
      return ask.backward ? entry.seq >= end : entry.seq <= end || entry.seq > applied;
    });
    const auto at = ask.backward ? piece.entries.begin() : piece.entries.end();
    piece.entries.insert(at, std::make_move_iterator(entries.begin()),
                         std::make_move_iterator(entries.end()));
  }
  return piece;
}

}  // namespace capstan::store
