// SPDX-License-Identifier: MIT
//
// The workers' side of the master: what they say becomes commands, effects become what they are
// told. A job's template travels once for each session; a Start is rendered with the inputs of just
// its tasks when it leaves. Loop thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/wire/message.h"
#include "master/api/doors.h"
#include "master/api/ledger.h"
#include "master/api/session.h"
#include "master/core/effect.h"
#include "master/store/store.h"

namespace capstan::api {

class WorkerApi {
 public:
  struct Parts {
    Ledger& ledger;
    Sessions& sessions;
    store::Store& store;
    Keys& keys;
    const Host& host;
  };
  explicit WorkerApi(Parts parts)
      : ledger_(parts.ledger),
        sessions_(parts.sessions),
        store_(parts.store),
        keys_(parts.keys),
        host_(parts.host) {}

  // What arrives. Roles and sessions are checked before.
  void on_enrol(net::PeerId peer, const msg::Enrol& enrol);
  void on_hello(net::PeerId peer, const net::Identity& identity, msg::WorkerHello hello);
  void on_started(const Session& session, const msg::Started& started);
  void on_results(const Session& session, msg::Results results);
  void on_returned(const Session& session, msg::Returned returned);
  void on_notice(const Session& session, const msg::WorkerNotice& notice);
  void on_goodbye(const Session& session);

  // What leaves, once committed. A worker without a session is told by its next HELLO.
  void tell(const effect::OpenSession& effect);
  /// The error is the store's: fatal.
  [[nodiscard]] Result<void> tell(const effect::StartTasks& effect);
  void tell(const effect::CancelAttempts& effect);
  void tell(const effect::RecallAttempts& effect);
  void tell(const effect::AckResults& effect);
  void tell(const effect::CloseSession& effect);
  void tell(const effect::KeyAdded& effect);
  void tell(const effect::KeyRemoved& effect);
  void tell(const effect::JobFinished& effect);

  /// Makes every worker deliver the output of just these jobs live.
  void follow(const std::set<JobId>& jobs, std::uint64_t version);

 private:
  /// Takes one of the new workers that there may be now.
  bool may_enrol();
  /// A name that no worker has: NAME, NAME-2, NAME-3 …
  [[nodiscard]] std::string free_name(const std::string& wanted) const;
  [[nodiscard]] Session* welcomed(WorkerId worker);
  /// The template of a job, once for each session, and what its tasks read.
  [[nodiscard]] Result<void> send_template(Session& session, const Job& job);
  [[nodiscard]] Result<Bytes> read_stdin(SubmissionId submission);
  /// The values of a task of a job with inputs.
  [[nodiscard]] Result<std::vector<Bytes>> inputs_of(const Job& job, TaskIndex task);
  /// The chunk that has input `first`: one of the last that were read, when it is there.
  [[nodiscard]] Result<const store::Store::InputChunk*> chunk_of(SubmissionId inputs,
                                                                 std::uint64_t first);

  /// New workers at once and for each second after: a farm of hundreds is set up in one moment,
  /// whoever goes on like that with an invitation fills the table.
  static constexpr int kEnrolBurst = 1024;
  static constexpr int kEnrolsPerSecond = 4;
  static constexpr std::size_t kChunksKept = 8;  ///< 64 KiB each.

  Ledger& ledger_;
  Sessions& sessions_;
  store::Store& store_;
  Keys& keys_;
  const Host& host_;
  std::deque<std::pair<SubmissionId, store::Store::InputChunk>> chunks_;  ///< Newest first.
  double enrols_left_ = kEnrolBurst;
  TimePoint enrols_at_;
  /// HELLOs whose OpenSession is still to be told: only with the last one begins what its session
  /// hears. What an earlier one led to may be out of date: a Start behind a Recall would be run
  /// although the worker gave it back.
  std::map<WorkerId, std::uint64_t> unopened_;
  std::set<WorkerId> epochs_ahead_;  ///< Said to have seen a later epoch than ours: told once.
};

}  // namespace capstan::api
