// SPDX-License-Identifier: MIT
//
// The journal read again, for people. Part of SqliteTables.
#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "master/store/entry_codec.h"
#include "master/store/row_reader.h"
#include "master/store/sqlite_tables.h"

namespace capstan::store {
namespace {

constexpr const char* kBefore =
    "SELECT first_seq, entries FROM journal WHERE first_seq < ? ORDER BY first_seq DESC";
// From the batch that the first wanted entry is in.
constexpr const char* kBehind =
    "SELECT first_seq, entries FROM journal WHERE first_seq >= ifnull((SELECT max(first_seq) FROM"
    " journal WHERE first_seq <= ?), 0) ORDER BY first_seq";

/// A request that was refused decided nothing; the journal has what it asked for.
Result<void> mark_refused(std::vector<Entry>& entries, Statement& requests) {
  for (Entry& entry : entries) {
    const Asked* asked = asked_of(entry.command);
    if (asked == nullptr || !asked->request.is_set()) continue;
    const Rewind rewind(requests);
    const std::string_view id(reinterpret_cast<const char*>(asked->request.bytes.data()),
                              asked->request.bytes.size());
    requests.text(asked->owner).blob(id);
    if (!TRY(requests.next())) continue;
    RequestRow answer = TRY(read_request(requests)).second;
    if (answer.code == Errc{}) continue;
    entry.command = cmd::RequestAnswered{*asked, answer.code, std::move(answer.reason)};
  }
  return {};
}

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
  Statement requests = TRY(connection_.prepare(std::string("SELECT ") + kRequestColumns +
                                               " FROM requests WHERE owner = ? AND request = ?"));
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
    TRY(mark_refused(entries, requests));
    const auto at = ask.backward ? piece.entries.begin() : piece.entries.end();
    piece.entries.insert(at, std::make_move_iterator(entries.begin()),
                         std::make_move_iterator(entries.end()));
  }
  return piece;
}

}  // namespace capstan::store
