// SPDX-License-Identifier: MIT
//
// Rows of committed entries that the tables do not have yet. Most wait until the tables are brought
// up in one piece, so that a task that is assigned and ends in between is written once. Bringing
// thousands of rows up takes tens of milliseconds, in which nobody is served: so the rows of tasks
// that ended, which nearly all of them are, are written ahead, with the next batch of the journal.
//
//   tables: at `applied`
//   rest:   running tasks, jobs, attempts …
//   ahead:  tasks that were born and ended behind `applied`, and what sweeps away deleted jobs
//
// A row may be written ahead only if the tables at `applied` have none of its task. Then a start
// can take it away (finished_seq > applied) and apply the entries behind `applied` once more. A
// sweep may, because nobody reads the rows of a job that the tables at `applied` have as deleted,
// and sweeping them once more does nothing; its last step, which forgets the deletion, may not.
#pragma once

#include <cstddef>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/keyed_list.h"
#include "master/core/rows.h"

namespace capstan {

class DeferredRows {
 public:
  /// Rows of the entries that follow. The tables are at `applied`; `now` is of due()'s clock.
  void add(RowChanges rows, Seq applied, TimePoint now);
  /// Those that may be written before the rest.
  [[nodiscard]] const RowChanges& ahead();
  void written_ahead();
  /// Everything that waits, to be written together (and to be added to, then).
  [[nodiscard]] RowChanges& all();
  /// All of it is in the tables.
  void clear();
  [[nodiscard]] bool empty() const { return rest_.empty() && waiting_.empty() && ahead_.empty(); }
  /// As RowChanges::is_progress().
  [[nodiscard]] bool is_progress() const { return rest_.is_progress(); }
  /// The tables should be brought up now …
  [[nodiscard]] bool is_much() const;
  /// … or then at the latest; never: nothing waits, or was written ahead.
  [[nodiscard]] TimePoint due() const { return due_; }

 private:
  void split(RowChanges& rows, Seq applied);
  void keep(TaskKey key, TaskRow&& row);
  void gather();

  RowChanges rest_;  ///< Its tasks are older than all others; while it has some, none go ahead.
  KeyedList<TaskKey, TaskRow> waiting_;  ///< Tasks of the rest, until they are gathered there.
  RowChanges ahead_;
  std::size_t written_ahead_ = 0;  ///< Rows, since the tables were brought up.
  std::size_t ahead_bytes_ = 0;    ///< Of text in these, and in ahead_.
  std::size_t rest_bytes_ = 0;     ///< In rest_.
  TimePoint latest_ = TimePoint::never();
  TimePoint due_ = TimePoint::never();
};

}  // namespace capstan
