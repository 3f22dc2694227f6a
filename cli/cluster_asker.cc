// SPDX-License-Identifier: MIT
#include "cli/cluster_asker.h"

#include <algorithm>
#include <utility>

#include "common/model/parse.h"
#include "common/wire/codec.h"

namespace capstan::cli {
namespace {

using namespace std::chrono_literals;

/// What was lost on the way is said again: it does no harm twice.
constexpr Micros kAgain = 1s;

}  // namespace

struct ClusterAsker::Link {
  Member master;
  std::unique_ptr<net::ZmqDialer> dialer;
  bool is_connected = false;
  bool is_refused = false;
  std::optional<SeenCluster> seen;
};

SeenCluster merged(const std::vector<SeenCluster>& seen) {
  const auto best = std::max_element(seen.begin(), seen.end(),
                                     [](const SeenCluster& one, const SeenCluster& other) {
                                       if (one.is_of_primary() != other.is_of_primary())
                                         return other.is_of_primary();
                                       return one.epoch < other.epoch;
                                     });
  SeenCluster all = *best;
  for (msg::NodeView& node : all.view.nodes) {
    const bool has_answered = std::any_of(
        seen.begin(), seen.end(), [&](const auto& each) { return each.view.name == node.name; });
    // To us: what the nodes hear of each other is what matters while one of them leads.
    if (has_answered && !all.is_of_primary()) node.reachable = true;
  }
  return all;
}

std::string standby_in_sync(const std::vector<SeenCluster>& seen) {
  if (seen.empty()) return "";
  const SeenCluster all = merged(seen);
  if (!all.is_of_primary() || !all.view.in_sync) return "";
  for (const SeenCluster& each : seen) {
    if (each.view.name != all.view.name && each.view.primary == all.view.name)
      return each.view.name;
  }
  return "";
}

ClusterAsker::ClusterAsker(net::EventLoop& loop, Options options)
    : loop_(loop), options_(std::move(options)) {}

ClusterAsker::~ClusterAsker() {
  for (auto& link : links_) {
    if (link->dialer) link->dialer->close(Micros(0));
  }
}

Outcome<std::unique_ptr<ClusterAsker>> ClusterAsker::open(net::EventLoop& loop, Options options) {
  std::unique_ptr<ClusterAsker> asker(new ClusterAsker(loop, std::move(options)));
  for (const Member& master : asker->options_.access.masters) {
    asker->links_.push_back(std::make_unique<Link>());
    asker->links_.back()->master = master;
    TRY(asker->dial(*asker->links_.back()));
  }
  if (asker->links_.empty()) return usage_error("the access file names no master");
  return asker;
}

Outcome<void> ClusterAsker::dial(Link& link) {
  net::ZmqDialer::Handler handler{
      .on_frame = [this, &link](std::string_view frame) { on_frame(link, frame); },
      .on_connected =
          [this, &link] {
            link.is_connected = true;
            if (query_ != 0 && !link.seen) say(link, msg::AskCluster{query_});
          },
      .on_closed = [&link] { link.is_connected = false; },
      .on_refused =
          [this, &link](const Error& error) {
            link.is_refused = true;
            link.is_connected = false;
            refused_ = error.message;
          },
  };
  auto dialer =
      net::ZmqDialer::open(context_, loop_, link.master, options_.access.keys, std::move(handler));
  if (!dialer) return usage_error("the access file: " + dialer.error().message);
  link.dialer = std::move(*dialer);
  return {};
}

void ClusterAsker::say(Link& link, msg::Body body) {
  msg::Message message;
  message.body = std::move(body);
  link.dialer->send(wire::encode(message));
}

void ClusterAsker::on_frame(Link& link, std::string_view frame) {
  auto message = wire::decode(frame);
  if (!message) return;
  if (auto* view = std::get_if<msg::ClusterView>(&message->body)) {
    if (view->query == query_) link.seen = SeenCluster{message->epoch, std::move(*view)};
  } else if (auto* done = std::get_if<msg::ClusterDone>(&message->body)) {
    if (done->query == query_) done_ = std::move(*done);
  } else if (auto* piece = std::get_if<msg::BackupData>(&message->body)) {
    if (piece->query == query_) piece_ = std::move(*piece);
  } else if (auto* denied = std::get_if<msg::Denied>(&message->body)) {
    if (denied->query == query_) piece_ = fail(denied->code, denied->reason);
  }
}

Outcome<bool> ClusterAsker::run_until(const std::function<bool()>& done, TimePoint deadline) {
  while (!done()) {
    const Interrupts* interrupts = options_.interrupts;
    if (interrupts != nullptr && interrupts->count() > 0) {
      return fail_with(interrupts->exit_code(), "");
    }
    if (clock_.now() >= deadline) return false;
    loop_.poll(deadline);
  }
  return true;
}

Failure ClusterAsker::nobody() const {
  const bool is_refused =
      std::all_of(links_.begin(), links_.end(), [](const auto& link) { return link->is_refused; });
  if (is_refused) return {kExitRefused, refused_};
  std::string at;
  for (const auto& link : links_) {
    for (const std::string& address : link->master.addresses) {
      at += (at.empty() ? "" : ", ") + address;
    }
  }
  return {kExitUnavailable, "no node answered at " + at + " within " +
                                duration_text(options_.timeout) +
                                ": is capstan-master running there?"};
}

Outcome<std::vector<SeenCluster>> ClusterAsker::look(Micros others) {
  ++query_;
  for (auto& link : links_) {
    link->seen.reset();
    if (link->is_connected) say(*link, msg::AskCluster{query_});
  }
  const auto is_done = [this](const auto& link) { return link->seen || link->is_refused; };
  const auto by_any = [&] {
    return std::any_of(links_.begin(), links_.end(),
                       [](const auto& link) { return link->seen.has_value(); }) ||
           std::all_of(links_.begin(), links_.end(), is_done);
  };
  const auto by_all = [&] { return std::all_of(links_.begin(), links_.end(), is_done); };
  TRY(run_until(by_any, clock_.now() + options_.timeout));
  TRY(run_until(by_all, clock_.now() + std::min(others, options_.timeout)));
  std::vector<SeenCluster> seen;
  for (const auto& link : links_) {
    if (link->seen) seen.push_back(*link->seen);
  }
  if (seen.empty()) return tl::unexpected<Failure>(nobody());
  return seen;
}

Outcome<ClusterAsker::Link*> ClusterAsker::find(const std::string& node) const {
  for (const auto& link : links_) {
    if (link->seen && link->seen->view.name == node) return link.get();
  }
  return fail_with(kExitUnavailable, node + " does not answer");
}

Outcome<void> ClusterAsker::control(const std::string& node, msg::ClusterControl order) {
  Link* const link = TRY(find(node));
  order.query = ++query_;
  done_.reset();
  const TimePoint deadline = clock_.now() + options_.timeout;
  const bool hands_over =
      order.verb == msg::ClusterVerb::FailOver || order.verb == msg::ClusterVerb::FailOverWithLoss;
  const auto is_over = [&] { return done_ || (hands_over && !link->is_connected); };
  do {
    say(*link, order);
    // Said again it would be asked of a node that does not lead any more.
    TRY(run_until(is_over, hands_over ? deadline : std::min(deadline, clock_.now() + kAgain)));
  } while (!is_over() && clock_.now() < deadline);
  if (!done_ && is_over()) return {};
  if (!done_) {
    return fail_with(kExitUnavailable, node + " did not answer within " +
                                           duration_text(options_.timeout) +
                                           "; it may still do what was asked");
  }
  if (done_->ok) return {};
  return fail_with(exit_code_of(done_->code), done_->reason);
}

Outcome<msg::BackupData> ClusterAsker::read_backup(const std::string& node, msg::ReadBackup read) {
  Link* const link = TRY(find(node));
  read.query = ++query_;
  piece_.reset();
  say(*link, read);
  const auto is_over = [&] { return piece_ || !link->is_connected; };
  TRY(run_until(is_over, clock_.now() + options_.timeout));
  if (!piece_) return fail_with(kExitUnavailable, node + " does not answer any more");
  if (!*piece_) return fail_with(exit_code_of(piece_->error().code), piece_->error().message);
  return std::move(**piece_);
}

Outcome<void> ClusterAsker::pause(Micros span) {
  TRY(run_until([] { return false; }, clock_.now() + span));
  return {};
}

}  // namespace capstan::cli
