// SPDX-License-Identifier: MIT
#include "worker/master_links.h"

#include <algorithm>
#include <utility>

#include "common/base/log.h"
#include "common/model/limits.h"

namespace capstan {

std::string addresses_text(const std::vector<Member>& masters) {
  std::string text;
  for (const Member& master : masters) {
    for (const std::string& address : master.addresses) {
      text += (text.empty() ? "" : ",") + address;
    }
  }
  return text;
}

Result<std::unique_ptr<MasterLinks>> MasterLinks::open(net::EventLoop& loop,
                                                       net::ZmqContext& context, net::Access access,
                                                       Handler handler) {
  if (access.masters.empty()) return fail(Errc::NotAllowed, "the access file names no master");
  std::unique_ptr<MasterLinks> links(
      new MasterLinks(loop, context, std::move(access), std::move(handler)));
  for (std::size_t master = 0; master < links->links_.size(); ++master) TRY(links->dial(master));
  links->unheard_at_ = links->clock_.now() + limits::kSayUnreachable;
  return links;
}

Result<void> MasterLinks::dial(std::size_t master) {
  net::ZmqDialer::Handler handler{
      .on_frame = [this, master](std::string_view frame) { handler_.on_frame(master, frame); },
      .on_connected = [this, master] { on_connected(master); },
      .on_closed = [this, master] { on_closed(master); },
      .on_refused = [this, master](const Error& error) { on_refused(master, error); },
  };
  Link& link = links_[master];
  link.dial_at = TimePoint::never();
  link.dialer = TRY(net::ZmqDialer::open(context_, loop_, access_.masters[master], access_.keys,
                                         std::move(handler)));
  return {};
}

bool MasterLinks::is_any_connected() const {
  return std::any_of(links_.begin(), links_.end(),
                     [](const auto& link) { return link.is_connected; });
}

void MasterLinks::on_connected(std::size_t master) {
  links_[master].is_connected = true;
  links_[master].is_refused = false;
  unheard_at_ = TimePoint::never();
  handler_.on_connected(master);
}

void MasterLinks::on_closed(std::size_t master) {
  links_[master].is_connected = false;
  if (!is_any_connected()) unheard_at_ = clock_.now() + limits::kSayUnreachable;
  handler_.on_closed(master);
}

void MasterLinks::on_refused(std::size_t master, const Error& error) {
  Link& link = links_[master];
  link.is_refused = true;
  if (std::exchange(link.is_connected, false)) handler_.on_closed(master);
  const bool by_all =
      std::all_of(links_.begin(), links_.end(), [](const auto& each) { return each.is_refused; });
  if (by_all) return handler_.on_refused(error);
  link.dial_at = clock_.now() + limits::kHelloRetry;
}

void MasterLinks::send(std::size_t master, std::string frame) {
  if (links_[master].dialer) links_[master].dialer->send(std::move(frame));
}

void MasterLinks::run() {
  const TimePoint now = clock_.now();
  if (now >= unheard_at_) {
    // Once for each time that they are gone: a person may be looking at a silent terminal.
    unheard_at_ = TimePoint::never();
    log::warn(
        "master.unreachable",
        {{"addresses", addresses_text(access_.masters)},
         {"reason", "nobody answers there; this worker keeps trying, and what runs goes on"}});
  }
  for (std::size_t master = 0; master < links_.size(); ++master) {
    if (now < links_[master].dial_at) continue;
    if (const auto dialled = dial(master); !dialled) {
      log::warn("master.not_dialled",
                {{"master", access_.masters[master].name}, {"reason", dialled.error().message}});
      links_[master].dial_at = now + limits::kHelloRetryMax;
    }
  }
}

TimePoint MasterLinks::next_deadline() const {
  TimePoint next = unheard_at_;
  for (const Link& link : links_) next = std::min(next, link.dial_at);
  return next;
}

void MasterLinks::close(Micros linger) {
  for (const Link& link : links_) {
    if (link.dialer) link.dialer->close(linger);
  }
}

}  // namespace capstan
