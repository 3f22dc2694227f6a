// SPDX-License-Identifier: MIT
//
// Every bound of the system, in one place, each with its reason. Anything that comes from outside
// is held against these; what is larger is refused with a clear error, never cut silently.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace capstan::limits {

using namespace std::chrono_literals;

// --- What a job may be ---------------------------------------------------------------------------
/// Tasks of one job. State costs a byte each once touched: 100 MB at the very most.
inline constexpr std::uint64_t kTasksPerJob = 100'000'000;
/// Jobs that a cluster ever numbers, a year and more of a hundred each second: a task's row is
/// found by one number of 63 bits, of which its index takes 31.
inline constexpr std::uint64_t kJobs = 4'294'967'295;
/// One argument after rendering. Linux refuses more in execve (MAX_ARG_STRLEN is 131,072 with NUL).
inline constexpr std::size_t kArgumentBytes = 131'071;
/// A job's template: arguments, environment, cwd, script. It travels once per worker in one message
/// part.
inline constexpr std::size_t kTemplateBytes = 512 * 1024;
/// One input. The same bound as an argument, since it becomes one.
inline constexpr std::size_t kInputBytes = kArgumentBytes;
/// Values of one task with --batch, and their bytes: they travel in one message.
inline constexpr std::uint32_t kInputsPerTask = 10'000;
inline constexpr std::size_t kTaskInputBytes = 128 * 1024;
inline constexpr std::size_t kScriptBytes = 128 * 1024;  ///< Travels with the template.
inline constexpr std::size_t kStdinBytes = 1024 * 1024;  ///< In parts, once for each worker.
inline constexpr std::size_t kPathBytes = 4096;          ///< PATH_MAX.
inline constexpr std::size_t kTags = 16;
inline constexpr std::size_t kAfterJobs =
    1000;  ///< Of one job; each is looked up at its submission.
inline constexpr auto kDurationMax = std::chrono::days(3650);  ///< No sum of two overflows.
/// When a job may begin at the latest: the end of the year 9999 (RFC 3339 has no later one).
inline constexpr std::int64_t kBeginMaxUs = 253'402'300'799'000'000;
inline constexpr std::int32_t kNiceDefault = 10;  ///< A worker's own processes come first.
inline constexpr std::int32_t kNiceMin = -20, kNiceMax = 19;
inline constexpr std::size_t kNameBytes = 255;       ///< Job and worker names: fits a file name.
inline constexpr std::size_t kTokenBytes = 255;      ///< A submission's token.
inline constexpr std::uint32_t kCpusPerTask = 4096;  ///< More than any machine has.
inline constexpr std::uint32_t kRetries = 1000;      ///< Beyond this it is a loop, not a retry.
inline constexpr std::int32_t kPriorityMax = 1'000'000;
inline constexpr std::uint32_t kIndexMax =
    2'000'000'000;  ///< An array's largest index: fits int32.

/// Attempts that one list of runs names: more than a worker ever has. Such a list is a few bytes
/// and a megabyte in memory, so a master takes none from a worker.
inline constexpr std::size_t kKeysPerList = 65'536;

// --- Messages and journal ------------------------------------------------------------------------
/// What a client or worker puts together itself for one message (inputs, results, held attempts).
/// What is larger travels in parts. Only a template, which is one piece, may exceed it.
inline constexpr std::size_t kMessageBytes = 256 * 1024;
/// ZMQ_MAXMSGSIZE: cuts off what claims to be larger (field-notes: it is unset by default).
inline constexpr std::size_t kFrameBytes = 1280 * 1024;
/// Any frame of a client or a worker, and of a master to them: the largest template
/// (kTemplateBytes) with room for the rest.
inline constexpr std::size_t kReplyBytes = 768 * 1024;
/// Any frame: between masters, too. The entry that such a message becomes, or a job that is opened
/// again, with room for the rest; CURVE adds some bytes. A listener and a decoder refuse more.
inline constexpr std::size_t kAnyFrameBytes = kFrameBytes - 1024;
/// Of a job that is opened again, how its tasks ended (run_codec.h): of a million one in ten may
/// have ended otherwise than those beside it.
inline constexpr std::size_t kRunsBytes = 400 * 1024;
/// Ranges of tasks that one request names.
inline constexpr std::size_t kSpansPerRequest = 16'384;
/// Both are in one batch, which is not cut.
static_assert(kTemplateBytes + kRunsBytes + 10 * kSpansPerRequest + 64 * 1024 < kAnyFrameBytes);
static_assert(kReplyBytes + 64 * 1024 < kAnyFrameBytes);
/// The rows of one page of an answer: a frame with room for its head and the last row.
inline constexpr std::size_t kPageBytes = kReplyBytes - 64 * 1024;
/// A batch of the journal: bounds one transaction and one replication message.
inline constexpr std::size_t kBatchBytes = 512 * 1024;
/// Entries in a batch: bounds one turn of the loop (about 10 ms of apply and upserts).
inline constexpr std::size_t kEntriesPerBatch = 4096;
/// Rows of tasks with which a turn takes no further message: one that steers tasks by name may make
/// a million, 0.3 GB.
inline constexpr std::size_t kRowsPerTurn = 100'000;
/// Frames that one poll hands to the loop, and from which size of its inbox on only one at a time:
/// what is behind waits in libzmq, whose high water mark holds the peer back.
inline constexpr std::size_t kFramesPerPoll = 64;
inline constexpr std::size_t kInboxFrames = 256;
/// While a commit waits for the other master frames arrive and none is taken. Beyond this they are
/// dropped, and their peers say HELLO anew: seconds of results of 500 workers fit.
inline constexpr std::size_t kInboxBytes = 64 * 1024 * 1024;
/// With more waiting jobs than this, each of which a plan looks at, there is one plan within so
/// long unless an entry or a deadline asks for it: 500 workers make 250 turns a second by being
/// heard.
inline constexpr std::size_t kJobsPlannedAtOnce = 500;
inline constexpr auto kPlanEvery = 20ms;
/// Messages taken in one turn.
inline constexpr std::size_t kMessagesPerTurn = 1024;
inline constexpr int kDecodeDepth = 8;      ///< Nesting of a msgpack value.
inline constexpr int kHighWaterMark = 200;  ///< ZMQ_SNDHWM/RCVHWM: 200 x 256 KiB a peer.
/// Connects of one key at once and for each second after: 500 workers may enrol with one invitation
/// in one moment, and a key that reconnects faster for long is broken or guesses routing ids.
inline constexpr int kConnectBurst = 1024;
inline constexpr int kConnectsPerSecond = 64;
/// Bytes that a peer may send without completing one message: what is parked in an unfinished
/// multipart message is bounded by no high-water mark. Above any socket buffer (6 to 32 MiB).
inline constexpr std::uint64_t kParkedBytes = 64 * 1024 * 1024;
/// Connections of a listener, handshakes included: kWorkers + kClients and some that come or go.
inline constexpr std::size_t kConnections = 10'000;
/// One chunk of staged inputs as the client cuts it: a dispatch decodes a whole chunk.
inline constexpr std::size_t kInputChunkBytes = 64 * 1024;
inline constexpr auto kStagingTtl = 10min;          ///< An unfinished submission is dropped.
inline constexpr std::size_t kStagedPerOwner = 64;  ///< Open submissions of one owner.
/// Parts of a submission on their way: the client waits for answers beyond this.
inline constexpr std::size_t kPartsInFlight = 16;
/// Requests remembered in memory; older ones are found in the table.
inline constexpr std::size_t kRequestsInMemory = 16'384;
inline constexpr auto kRequestsInMemoryFor = 60s;
inline constexpr auto kRequestsKept = std::chrono::hours(7 * 24);

// --- Workers -------------------------------------------------------------------------------------
/// Attempts that one worker holds (running and queued there): a HELLO lists them in one message.
inline constexpr std::size_t kHeldPerWorker = 4096;
inline constexpr std::size_t kWorkers = 4096;     ///< Enrolled; the mission says up to 500.
inline constexpr std::size_t kTailBytes = 4096;   ///< Of each stream, in the committed result.
inline constexpr std::size_t kReasonBytes = 512;  ///< Of an attempt's reason in words.
inline constexpr std::size_t kWordsBytes = 2048;  ///< Of any other text for people in a message.
inline constexpr std::size_t kCaptureHeadBytes = 1024 * 1024;       ///< Of each stream, kept whole.
inline constexpr std::size_t kCaptureRingBytes = 15 * 1024 * 1024;  ///< Of each stream, the last.
inline constexpr std::size_t kLogChunkBytes = 64 * 1024;            ///< Bulk shares the connection.
inline constexpr int kLogChunksInFlight = 2;  ///< Credit of one peer for bulk bytes.
/// Work sent ahead covers this much time, so that a worker never idles for a round trip.
inline constexpr auto kPrefillHorizon = 250ms;
/// Tasks whose mean is above this are not sent ahead at all.
inline constexpr auto kPrefillTaskMax = 5s;
/// Attempts ahead of all workers together, however short they are: 30 ms of them. More only reach
/// the tables twice, as running and as ended, and leave the caches …
inline constexpr std::uint64_t kPrefillTogether = 4096;
/// … but so many for each slot in any case: 30 ms of the shortest real tasks.
inline constexpr std::uint64_t kPrefillPerSlot = 64;

// --- Inside a worker (shepherd and agent) --------------------------------------------------------
/// A start is told on its own when it ran this long: shorter ones are told by their result.
inline constexpr auto kStartedHold = 50ms;
/// While more work is queued here, what ended is spooled and told together: one write, one message
/// and one turn of the master for many. Nobody waits for it: what is queued covers far more time.
inline constexpr auto kReportLinger = 50ms;
inline constexpr std::size_t kReportBatch = 256;
inline constexpr auto kSpoolSyncAfter = 1s;  ///< Undelivered results are synced then.
inline constexpr auto kDiskRetry = 1s;       ///< A full disk is tried again.
/// The spool file is rewritten when it is larger than this, and than four times what was left of it
/// the last time.
inline constexpr std::size_t kSpoolCompactBytes = 4 * 1024 * 1024;
/// Results on their way: a window, so that a resend of thousands does not overrun the queues.
inline constexpr std::size_t kResultsInFlightBytes = 4 * 1024 * 1024;
inline constexpr auto kGrowthPace = 20ms;    ///< A followed output is told at most this often.
inline constexpr auto kHelloRetry = 2s;      ///< Doubles, while it is not answered …
inline constexpr auto kHelloRetryMax = 10s;  ///< … up to this.
inline constexpr int kHelloTries = 3;        ///< For an earlier instance's results.
/// After "not now" (a standby): within it after a failover the new master is found. A worker waits
/// half of it at least.
inline constexpr auto kAskStandby = 250ms;
inline constexpr auto kSayUnreachable = 3s;  ///< A worker says that no master answers.
inline constexpr auto kMasterSilent = 10s;   ///< Then HELLO is said again.
inline constexpr std::size_t kTemplateCacheBytes = 64 * 1024 * 1024;  ///< Of one session.
inline constexpr std::size_t kFollowedJobs = 4096;
/// Arguments and environment of one process: Linux' default is a quarter of an 8 MiB stack.
inline constexpr std::size_t kExecBytes = 8 * 1024 * 1024;
inline constexpr std::size_t kPairFrameBytes = 2 * kExecBytes;
/// So much for the agent is passed on before the shepherd's turn is over: it works meanwhile.
inline constexpr std::size_t kPairPassOnBytes = 16 * 1024;
/// Waits for a stopped agent; beyond it the agent is replaced by a new one.
inline constexpr std::size_t kPairBufferBytes = 64 * 1024 * 1024;
/// What the main process left behind may end by itself for so long, then it is killed.
inline constexpr auto kStragglerWait = 100ms;
/// A task that says how much memory it needs is looked at this often, where no cgroup holds it.
inline constexpr auto kMemoryPace = 250ms;
/// After grace and kill-grace: for the last acknowledgements and the goodbye.
inline constexpr auto kGoodbyeWait = 5s;
inline constexpr auto kAgentBackoffMax = 2s;

// --- Failure -------------------------------------------------------------------------------------
inline constexpr auto kBackoffFirst = 1s;
inline constexpr auto kBackoffMax = 60s;
inline constexpr std::uint32_t kWorkerLossesPerTask = 3;  ///< Then the task itself is suspect.
inline constexpr std::uint32_t kLaunchErrorWorkers = 3;   ///< Then the job itself is wrong.
inline constexpr std::uint32_t kRetriesDefaultSubmit = 2;
inline constexpr std::uint32_t kRetriesDefaultRun = 0;

// --- Silence -------------------------------------------------------------------------------------
inline constexpr auto kHeartbeatEvery = 2s;
inline constexpr auto kSuspectAfter = 10s;
inline constexpr auto kLostAfter = 30s;
inline constexpr auto kClosedGrace = 5s;
inline constexpr auto kHandshake = 3s;      ///< ZMQ_HANDSHAKE_IVL.
inline constexpr auto kRedialRefused = 5s;  ///< A node that another one turned away asks again.
inline constexpr auto kKillGrace = 10s;
inline constexpr auto kGrace = 30s;

// --- Between masters (docs/failover.md) ----------------------------------------------------------
inline constexpr auto kPeerHeartbeatEvery = 500ms;  ///< By the loop that commits.
/// Silence after which a voter stands, drawn anew each time: two never stand together for long.
inline constexpr auto kElectionMin = 3s, kElectionMax = 4s;
inline constexpr auto kElectionAfterClosed = 200ms;  ///< Its process is gone, not just quiet.
inline constexpr auto kElectionRound = 1s;           ///< Unanswered: once more, with a new epoch.
inline constexpr auto kShrinkAfter = 2s;             ///< A silent standby holds up every commit.
inline constexpr auto kShrinkAfterClosed = 300ms;
inline constexpr auto kGrowAfter = 10s;  ///< Of steadiness, after a shrink: no flapping.
inline constexpr auto kPeerResend = 500ms;
inline constexpr auto kTakeOverWait = 3s;         ///< A planned switch-over that does not happen.
inline constexpr auto kSnapshotHold = 10min;      ///< For a peer that is gone.
inline constexpr std::size_t kAppendWindow = 16;  ///< Batches on their way to a peer: 8 MiB.
inline constexpr std::size_t kPeerEnds = 4096;    ///< Of a Behind: some 120 KiB.
/// Pieces of output on their way to a peer: 512 KiB, 4 ms of a Gbit/s. A commit waits for no more.
inline constexpr std::size_t kRelayWindow = 8;
/// Unanswered for so long, a piece is sent again.
inline constexpr auto kRelayResend = 2s;

// --- Clients -------------------------------------------------------------------------------------
inline constexpr auto kClientTimeout = 30s;
inline constexpr std::size_t kRowsPerPage = 1000;  ///< Of a wide read.
inline constexpr std::size_t kClients = 4096;      ///< Sessions of clients at once …
/// … and so many more of admins: somebody must get in when one user has taken all.
inline constexpr std::size_t kClientsOfAdmins = 64;
inline constexpr std::size_t kWatchesPerClient = 16;
/// Questions of one client that are not answered yet: bounds the reader thread's queue.
inline constexpr std::size_t kQuestionsPerClient = 64;
/// Watch messages that a client has not confirmed yet: a slow reader gets no more.
inline constexpr int kWatchCredit = 8;
/// Events that wait for one watch; beyond it the watch catches up from the tables.
inline constexpr std::size_t kWatchBacklog = 4096;
inline constexpr auto kWatchPace = 100ms;  ///< Progress is told at most this often.

// --- Storage -------------------------------------------------------------------------------------
inline constexpr std::size_t kWalCheckpointBytes = 64 * 1024 * 1024;
inline constexpr std::size_t kBallastBytes = 16 * 1024 * 1024;  ///< Deleted when the disk is full.
/// Rows that are in the journal wait so long for others before they go into the tables; while more
/// come …
inline constexpr auto kIdleFlush = 200ms;
inline constexpr auto kBringUpEvery = 1s;
/// … or until they are so many (45 ms to write, some 14 MiB), or have so much text …
inline constexpr std::size_t kDeferredRows = 24'576;
inline constexpr std::size_t kDeferredBytes = 4 * 1024 * 1024;
/// … or so many were written ahead of them, or so much text: a start applies their entries once
/// more, in 0.2 s, and has them in memory until then.
inline constexpr std::size_t kRowsAhead = 131'072;
inline constexpr std::size_t kAheadBytes = 32 * 1024 * 1024;
inline constexpr std::uint64_t kJournalBytesKept = 1ULL << 30;
inline constexpr std::uint32_t kSchemaVersion = 1;
/// After an override nobody knows how many jobs the lost primary gave a number: so many are never
/// given. That is a hundred submissions a second for a day, served alone.
inline constexpr std::uint64_t kJobsSkipped = 10'000'000;

}  // namespace capstan::limits
