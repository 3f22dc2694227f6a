// SPDX-License-Identifier: MIT
#include "master/output_relay.h"

#include <algorithm>

#include "common/base/log.h"

namespace capstan {

using api::Logs;

void OutputRelay::append(Chunk chunk, std::function<void(Result<void>)> done) {
  const Extent extent{{chunk.key, chunk.stream}, chunk.offset + chunk.data.size(), chunk.last};
  const std::uint64_t from = chunk.offset;
  doors_.logs.append(std::move(chunk), [this, extent, from, done](Result<void> stored) {
    if (!stored || life_ == 0) return done(std::move(stored));
    want(extent, from, done);
    pump();
  });
}

void OutputRelay::read(const AttemptKey& key, Stream stream, std::uint64_t offset,
                       std::function<void(Result<Part>)> done) {
  doors_.logs.read(key, stream, offset, std::move(done));
}

void OutputRelay::remove(JobId job, std::function<void(Result<void>)> done) {
  doors_.logs.remove(job, std::move(done));
}

void OutputRelay::list_jobs(std::function<void(Result<std::vector<JobId>>)> done) {
  doors_.logs.list_jobs(std::move(done));
}

void OutputRelay::list(std::optional<StreamId> after,
                       std::function<void(Result<std::vector<Extent>>)> done) {
  doors_.logs.list(std::move(after), std::move(done));
}

void OutputRelay::set_peer(std::uint64_t life) {
  if (life == life_) return;
  life_ = life;
  ++peers_;
  ready_.clear();
  later_.clear();
  sent_.clear();
  reading_ = 0;
  listing_ = false;
  walked_.reset();
  walks_ = life != 0;
  std::map<Key, Track> before = std::exchange(tracks_, {});
  for (auto& [key, track] : before) {
    for (Waiting& one : track.waiting) {
      if (life == 0)
        one.done({});
      else
        want({{key.first, key.second}, one.upto, one.last}, one.upto, std::move(one.done));
    }
  }
  pump();
}

/// `from`: the peer is taken to have what is before it.
void OutputRelay::want(const Extent& extent, std::uint64_t from,
                       std::function<void(Result<void>)> done) {
  const Key key{extent.id.key, extent.id.stream};
  const auto [at, is_new] = tracks_.try_emplace(key);
  Track& track = at->second;
  if (is_new) track.cursor = from;
  track.want = std::max(track.want, extent.upto);
  track.want_last = track.want_last || extent.last;
  if (done) track.waiting.push_back({extent.upto, extent.last, std::move(done)});
  queue(key, track);
}

void OutputRelay::queue(const Key& key, Track& track) {
  if (!std::exchange(track.is_busy, true)) ready_.push_back(key);
}

void OutputRelay::pump() {
  while (life_ != 0 && sent_.size() + reading_ < limits::kRelayWindow) {
    if (ready_.empty()) return walk();
    const Key key = ready_.front();
    ready_.pop_front();
    send_next(key);
  }
}

/// What the peer missed: every stream that we have is asked for, behind what is new.
void OutputRelay::walk() {
  if (!walks_ || !may_walk_ || doors_.clock.now() < walk_at_ || std::exchange(listing_, true))
    return;
  doors_.logs.list(walked_, [this, peer = peers_](const Result<std::vector<Extent>>& found) {
    if (peer != peers_) return;
    listing_ = false;
    if (!found) {
      walk_at_ = doors_.clock.now() + kAgain;
      if (found.error().code == Errc::Unavailable) return;
      walks_ = false;
      return log::error("output.not_listed", {{"reason", found.error().message}});
    }
    if (found->empty()) {
      walks_ = false;
      return log::info("output.offered", {{"reason", "the standby has or gets all that is here"}});
    }
    walked_ = found->back().id;
    for (const Extent& extent : *found) want(extent, extent.upto, {});
    pump();
  });
}

void OutputRelay::send_next(const Key& key) {
  const auto track = tracks_.find(key);
  if (track == tracks_.end()) return;
  ++reading_;
  doors_.logs.read(key.first, key.second, track->second.cursor,
                   [this, peer = peers_, key](const Result<Part>& part) {
                     if (peer != peers_) return;
                     --reading_;
                     on_read(key, part);
                     pump();
                   });
}

void OutputRelay::on_read(const Key& key, const Result<Part>& part) {
  const auto found = tracks_.find(key);
  if (found == tracks_.end()) return;
  Track& track = found->second;
  if (!part && part.error().code == Errc::Unavailable) {
    later_.emplace_back(doors_.clock.now() + kAgain, key);
    return;
  }
  if (!part)
    log::error("output.not_relayed",
               {{"attempt", to_string(key.first)}, {"reason", part.error().message}});
  // Removed meanwhile, or damaged: nobody gets it from us either.
  if (!part || (part->data.empty() && part->total < track.want)) return finish(key);
  msg::LogRelay piece;
  piece.life = life_;
  piece.number = ++number_;
  piece.key = key.first;
  piece.stream = key.second;
  piece.prev = track.cursor;
  piece.offset = part->data.empty() ? track.cursor : part->offset;
  piece.data = part->data;
  piece.last = part->end;
  sent_[number_] = {key, doors_.clock.now()};
  doors_.send(std::move(piece));
}

void OutputRelay::on_relayed(const msg::LogRelayed& answer) {
  const auto sent = sent_.find(answer.number);
  if (sent == sent_.end()) return;
  const Key key = sent->second.key;
  sent_.erase(sent);
  if (const auto found = tracks_.find(key); found != tracks_.end()) {
    if (!answer.ok) {
      later_.emplace_back(doors_.clock.now() + kAgain, key);
    } else if (answer.last) {
      finish(key);
    } else {
      found->second.cursor = answer.upto;
      settle(key, found->second);
    }
  }
  pump();
}

/// Tells what is on both; the rest goes on.
void OutputRelay::settle(const Key& key, Track& track) {
  std::deque<Waiting> there;
  while (!track.waiting.empty()) {
    const Waiting& first = track.waiting.front();
    if (first.last || first.upto > track.cursor) break;
    there.push_back(std::move(track.waiting.front()));
    track.waiting.pop_front();
  }
  track.is_busy = false;
  if (track.want > track.cursor || track.want_last)
    queue(key, track);
  else
    tracks_.erase(key);
  for (const Waiting& one : there) one.done({});
}

/// The peer has its end, or nobody gets it any more.
void OutputRelay::finish(const Key& key) {
  const auto track = tracks_.extract(key);
  for (const Waiting& one : track.mapped().waiting) one.done({});
}

void OutputRelay::tick() {
  const TimePoint now = doors_.clock.now();
  while (!later_.empty() && later_.front().first <= now) {
    ready_.push_back(later_.front().second);
    later_.pop_front();
  }
  while (!sent_.empty() && sent_.begin()->second.at + Micros(limits::kRelayResend) <= now) {
    ready_.push_back(sent_.begin()->second.key);
    sent_.erase(sent_.begin());
  }
  pump();
}

TimePoint OutputRelay::next_deadline() const {
  TimePoint next = TimePoint::never();
  if (!later_.empty()) next = later_.front().first;
  if (walks_ && may_walk_ && !listing_ && sent_.empty() && reading_ == 0)
    next = std::min(next, walk_at_);
  // Numbers ascend with time.
  if (!sent_.empty())
    next = std::min(next, sent_.begin()->second.at + Micros(limits::kRelayResend));
  return next;
}

void take_relayed(api::Logs& logs, msg::LogRelay relay, std::function<bool()> is_gone,
                  std::function<void(msg::LogRelayed)> answer) {
  const Logs::StreamId id{relay.key, relay.stream};
  const std::uint64_t prev = relay.prev;
  auto on_known = [&logs, relay = std::move(relay), is_gone = std::move(is_gone),
                   answer = std::move(answer)](const Result<Logs::Part>& known) mutable {
    const std::uint64_t number = relay.number;
    const std::uint64_t end = relay.offset + relay.data.size();
    // Looked at when it is known: what is appended from here on is removed behind that.
    if (is_gone()) return answer({number, true, end, relay.last});
    if (!known) return answer({number, false, 0, false});
    const bool adds =
        known->total >= relay.prev && !known->end && (relay.last || end > known->total);
    if (!adds) return answer({number, true, known->total, known->end});
    const msg::LogRelayed added{number, true, std::max(known->total, end), relay.last};
    logs.append({relay.key, relay.stream, relay.offset, std::move(relay.data), relay.last},
                [added, answer](const Result<void>& stored) {
                  answer(stored ? added : msg::LogRelayed{added.number, false, 0, false});
                });
  };
  logs.read(id.key, id.stream, prev, std::move(on_known));
}

}  // namespace capstan
