// SPDX-License-Identifier: MIT
#include "cli/worker.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>
#include <vector>

#include "cli/access_lookup.h"
#include "cli/lists.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/worker_names.h"
#include "common/json/json.h"
#include "common/model/limits.h"

namespace capstan::cli {
namespace {

/// How often the list of workers is asked for while something is waited for there.
constexpr Micros kLookEvery = std::chrono::milliseconds(250);

class WorkerVerb final : public Verb {
 public:
  WorkerVerb()
      : Verb("worker", "drain, resume, remove or await workers",
             {"an action and a name: drain, resume or remove NAME, or wait N", 2, SIZE_MAX}) {
    page_.synopsis = {"capstan worker drain [--reason TEXT] [--wait] NAME...",
                      "capstan worker resume NAME...", "capstan worker remove NAME...",
                      "capstan worker wait [--timeout DURATION] N"};
    page_.description =
        "drain   A worker finishes what runs and gets nothing new; what was only sent ahead is "
        "taken back. It stays so, whoever is started anew, until resume. --wait returns when "
        "nothing runs there any more.\n"
        "resume  It gets work again.\n"
        "remove  Forgets a worker that is away, or drained and empty. Its name is free again; its "
        "key is shut out.\n"
        "wait    Returns when N workers are up; with --timeout, exits with 124 when they are not "
        "by then.\n\n"
        "NAME is w1, node[1-50], node[01-08,12] or a pattern with * and ?. All of it needs an "
        "admin's key, but for wait.";
    // clang-format off
    options_.add_options()
        ("reason", po::value(&reason_)->value_name("TEXT"),
         "With drain: why, for whoever looks at capstan workers or capstan why.")
        ("wait", po::bool_switch(&wait_),
         "With drain: return when nothing runs there any more.")
        ("quiet,q", po::bool_switch(&quiet_),
         "Print nothing.")
        ("json", po::bool_switch(&json_),
         "Print {\"workers\":[\"w1\"],\"changed\":1}; with wait {\"up\":3}.");
    // clang-format on
    set_examples(
        "  capstan worker drain node7 --reason 'disk swap' --wait\n"
        "  capstan worker resume 'node*'\n"
        "  capstan worker remove node[1-50]\n"
        "  capstan worker wait 3 --timeout 2m\n");
    set_exits(
        "  0    done\n"
        "  2    the command line cannot be meant; nothing was sent\n"
        "  3    refused by the master: no such worker, not an admin's key, it still has work\n"
        "  75   no answer in time; try again\n"
        "  124  the time of --timeout has passed\n"
        "  130  interrupted\n");
  }

  Outcome<int> run(const Words& words) override {
    const std::string& what = words.positionals.front();
    const std::vector<std::string> rest(words.positionals.begin() + 1, words.positionals.end());
    limited_ = words.has("timeout");
    if ((words.has("reason") || wait_) && what != "drain")
      return usage_error("--reason and --wait go with drain");
    if (reason_.size() > limits::kReasonBytes)
      return usage_error(fmt::format("--reason: at most {} bytes", limits::kReasonBytes));
    net::EventLoop loop;
    TRY(interrupts_.install(loop));
    if (what == "wait") return wait_up(loop, rest);
    const std::pair<std::string_view, msg::WorkerVerb> verbs[] = {
        {"drain", msg::WorkerVerb::Drain},
        {"resume", msg::WorkerVerb::Resume},
        {"remove", msg::WorkerVerb::Remove}};
    for (const auto& [name, verb] : verbs) {
      if (what == name) return control(loop, verb, rest);
    }
    return usage_error("worker " + printable(what) +
                       ": there is drain, resume, remove and wait (see capstan help worker)");
  }

 private:
  Outcome<int> control(net::EventLoop& loop, msg::WorkerVerb verb,
                       const std::vector<std::string>& words) {
    for (const std::string& word : words) TRY(expand_brackets(word));
    const auto client = TRY(connect(loop, *this, &interrupts_));
    std::vector<std::string> known;
    for (const msg::WorkerView& worker : TRY(list_workers(*client))) known.push_back(worker.name);
    msg::WorkerControl control;
    control.verb = verb;
    control.names = TRY(chosen_workers(words, known));
    control.reason = reason_;
    const msg::Done done = TRY(client->change(control));
    if (verb == msg::WorkerVerb::Drain && wait_) {
      const bool in_time = TRY(wait_empty(*client, {control.names.begin(), control.names.end()}));
      if (!in_time) return fail_with(kExitTimedOut, "something still runs there");
    }
    TRY(print(verb, control.names, done));
    return kExitOk;
  }

  Outcome<void> print(msg::WorkerVerb verb, const std::vector<std::string>& names,
                      const msg::Done& done) const {
    static constexpr const char* kDone[] = {"drained", "takes work again", "removed"};
    Output out(STDOUT_FILENO);
    if (json_) {
      out.write(json::line_of_workers(names, done.tasks) + "\n");
    } else if (!quiet_) {
      const char* is =
          verb == msg::WorkerVerb::Drain && !wait_ ? "draining" : kDone[static_cast<int>(verb)];
      for (const std::string& name : names)
        out.write(fmt::format("worker {}: {}\n", printable(name), is));
    }
    return out.flush();
  }

  /// True when nothing runs on any of them; one that is gone runs nothing as far as we know.
  Outcome<bool> wait_empty(Client& client, const std::set<std::string>& names) {
    return look_until(client, [&](const std::vector<msg::WorkerView>& workers) {
      return std::none_of(workers.begin(), workers.end(), [&](const msg::WorkerView& worker) {
        const bool is_there =
            worker.state == msg::WorkerState::Draining || worker.state == msg::WorkerState::Suspect;
        return is_there && worker.running != 0 && names.count(worker.name) != 0;
      });
    });
  }

  Outcome<int> wait_up(net::EventLoop& loop, const std::vector<std::string>& words) {
    std::size_t wanted = 0;
    const std::string& word = words.front();
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), wanted);
    if (words.size() != 1 || error != std::errc{} || end != word.data() + word.size())
      return usage_error("worker wait takes one number, as in capstan worker wait 3");
    const auto client = TRY(connect(loop, *this, &interrupts_));
    std::size_t up = 0;
    const bool in_time = TRY(look_until(*client, [&](const auto& workers) {
      up = static_cast<std::size_t>(std::count_if(
          workers.begin(), workers.end(),
          [](const msg::WorkerView& worker) { return worker.state == msg::WorkerState::Up; }));
      return up >= wanted;
    }));
    if (!in_time) return fail_with(kExitTimedOut, fmt::format("{} of {} are up", up, wanted));
    Output out(STDOUT_FILENO);
    if (json_) out.write(fmt::format("{{\"up\":{}}}\n", up));
    TRY(out.flush());
    return kExitOk;
  }

  /// Looks at the list of workers until `is_so`; false: --timeout has passed.
  template <class Predicate>
  Outcome<bool> look_until(Client& client, Predicate is_so) {
    const TimePoint deadline = limited_ ? client.now() + common().timeout : TimePoint::never();
    while (!is_so(TRY(list_workers(client)))) {
      if (client.now() >= deadline) return false;
      const TimePoint next = std::min(client.now() + kLookEvery, deadline);
      TRY(client.run_until([] { return false; }, next));
    }
    return true;
  }

  Interrupts interrupts_;
  std::string reason_;
  bool wait_ = false;
  bool quiet_ = false;
  bool json_ = false;
  bool limited_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_worker_verb() {
  return std::make_unique<WorkerVerb>();
}

}  // namespace capstan::cli
