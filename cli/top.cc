// SPDX-License-Identifier: MIT
#include "cli/top.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "cli/access_lookup.h"
#include "cli/interrupts.h"
#include "cli/output.h"
#include "cli/screen.h"
#include "cli/text.h"
#include "cli/top_frame.h"
#include "cli/top_source.h"
#include "common/base/config.h"
#include "common/model/limits.h"
#include "common/model/parse.h"

namespace capstan::cli {
namespace {

using namespace std::chrono_literals;

constexpr Micros kIntervalMin = 100ms;
constexpr Micros kIntervalMax = 1h;
constexpr Micros kSilence = 3s;  ///< Without an answer for so long the picture says so.

class TopVerb final : public Verb {
 public:
  TopVerb() : Verb("top", "watch the cluster live", {"", 0, 0}) {
    page_.synopsis = {"capstan top [OPTIONS]"};
    page_.description =
        "Shows the workers, how fast tasks finish, what a person should look at, and the jobs: "
        "live ones and the newest of the others. It is drawn anew every second and fits the "
        "terminal; what does not fit is left out, the least important first. Without a terminal, "
        "and with --once, it prints one picture and ends.\n\n"
        "  c p a n     sort by cpus, priority, age or name; again: the other way round\n"
        "  up down     move; also j k, PgUp PgDn, Home End\n"
        "  Enter       into a job (its tasks), into a task (its attempts and output)\n"
        "  Esc         back\n"
        "  Tab         stdout or stderr of a task\n"
        "  w  ?  q     workers, help, leave\n";
    // clang-format off
    options_.add_options()
        ("interval",
         config::parsed("interval", &interval_, read_interval)->value_name("DURATION"),
         "Draw so often (default 1s).")
        ("once", po::bool_switch(&once_),
         "Print one picture and end.")
        ("json", po::bool_switch(&json_),
         "Print one JSON object for each picture, a line each, until interrupted.");
    // clang-format on
    set_examples("  capstan top\n  capstan top --once\n  capstan top --json --interval 10s\n");
    set_exits(
        "  0    left with q; the picture was printed\n"
        "  2    the command line cannot be meant; nothing was sent\n"
        "  3    refused by the master: not this cluster's key\n"
        "  75   no answer in time; try again\n"
        "  130  interrupted\n");
  }

  Outcome<int> run(const Words&) override {
    net::EventLoop loop;
    Interrupts interrupts;
    TRY(interrupts.install(loop));
    const auto client = TRY(connect(loop, *this, &interrupts));
    TopSource source(*client);
    TRY(first_picture(*client, source));
    const Terminal terminal = Terminal::of_process();
    const bool is_live =
        terminal.stdout_is_terminal && ::isatty(STDIN_FILENO) == 1 && !once_ && !json_;
    if (is_live) return Live(*this, loop, interrupts, *client, source).run();
    Output out(STDOUT_FILENO);
    if (!json_) {
      for (const std::string& line : top::frame(source.model(), {}, {terminal.columns, 0}, false)) {
        out.write(line + "\n");
      }
    }
    while (json_) {
      out.write(top::json_line(source.model()) + "\n");
      TRY(out.flush());
      if (once_) break;
      TRY(next_picture(*client, source));
    }
    TRY(out.flush());
    return kExitOk;
  }

 private:
  static Result<Micros> read_interval(std::string_view text) {
    const Micros interval = TRY(parse_duration(text));
    if (interval >= kIntervalMin && interval <= kIntervalMax) return interval;
    return fail(Errc::Invalid, "use 100ms to 1h");
  }
  /// As other verbs wait for an answer, with their words when there is none.
  static Outcome<void> first_picture(Client& client, TopSource& source) {
    TRY(client.ask<msg::StatusReply>(msg::GetStatus{}));
    source.refresh({});
    const TimePoint end = client.now() + client.timeout();
    const auto is_here = [&] { return source.pictures() != 0 || source.failure().has_value(); };
    if (!TRY(client.run_until(is_here, end))) {
      return fail_with(kExitUnavailable, "the master did not answer in time");
    }
    if (source.failure()) return tl::unexpected<Failure>(*source.failure());
    return {};
  }
  Outcome<void> next_picture(Client& client, TopSource& source) const {
    const TimePoint at = source.asked_at() + interval_;
    TRY(client.run_until([] { return false; }, at));
    const std::uint64_t seen = source.pictures();
    source.refresh({});
    return client.run_while_waiting([&] { return source.pictures() != seen; });
  }

  /// A person looks.
  class Live {
   public:
    Live(const TopVerb& verb, net::EventLoop& loop, Interrupts& interrupts, Client& client,
         TopSource& source)
        : interval_(verb.interval_),
          loop_(loop),
          interrupts_(interrupts),
          client_(client),
          source_(source) {}

    Outcome<int> run() {
      const auto screen = TRY(Screen::take());
      interrupts_.on_resize([this] { has_news_ = true; });
      loop_.watch(STDIN_FILENO, [this, &screen] { on_keys(screen->read(is_gone_)); });
      const Outcome<void> shown = show(*screen);
      loop_.unwatch(STDIN_FILENO);
      interrupts_.on_resize({});
      if (!shown) return tl::unexpected<Failure>(shown.error());
      return kExitOk;
    }

   private:
    Outcome<void> show(Screen& screen) {
      const bool with_colour = Terminal::of_process().may_colour;
      while (!is_over_ && !is_gone_) {
        note_silence();
        TRY(screen.draw(top::frame(source_.model(), view_, Screen::size(), with_colour)));
        has_news_ = false;
        if (!source_.is_busy() && (has_moved_ || client_.now() >= next_at())) {
          has_moved_ = false;
          source_.refresh(view_);
        }
        const std::uint64_t seen = source_.pictures();
        const auto is_time = [&] {
          return has_news_ || is_over_ || is_gone_ || source_.pictures() != seen ||
                 (has_moved_ && !source_.is_busy());
        };
        const TimePoint until = source_.is_busy() ? client_.now() + interval_ : next_at();
        TRY(client_.run_until(is_time, until));
      }
      return {};
    }
    [[nodiscard]] TimePoint next_at() const { return source_.asked_at() + interval_; }
    void note_silence() {
      const Micros silent = client_.now() - source_.asked_at();
      if (source_.is_busy() && silent > kSilence) {
        source_.set_trouble("no answer for " + span_text(silent) + ": this is how it was");
      }
    }
    void on_keys(const std::string& bytes) {
      for (const top::Press& press : top::presses_of(bytes)) {
        const top::Reaction reaction = top::press(press, source_.model(), Screen::size(), view_);
        has_moved_ = has_moved_ || reaction == top::Reaction::Moved;
        is_over_ = is_over_ || reaction == top::Reaction::Quit;
      }
      has_news_ = true;
    }

    const Micros interval_;
    net::EventLoop& loop_;
    Interrupts& interrupts_;
    Client& client_;
    TopSource& source_;
    top::View view_;
    bool has_news_ = false;   ///< Something to draw.
    bool has_moved_ = false;  ///< Something else to ask for.
    bool is_over_ = false;
    bool is_gone_ = false;  ///< The terminal.
  };

  Micros interval_ = 1s;
  bool once_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_top_verb() {
  return std::make_unique<TopVerb>();
}

}  // namespace capstan::cli
