// SPDX-License-Identifier: MIT
#include "cli/key.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "cli/access_lookup.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/text.h"
#include "common/base/print_error.h"
#include "common/json/json.h"
#include "common/net/keys.h"

namespace capstan::cli {
namespace {

class KeyVerb final : public Verb {
 public:
  KeyVerb()
      : Verb("key", "let users in, and shut them out",
             {"an action: add NAME, list or revoke NAME", 1, 2}) {
    page_.synopsis = {"capstan key add [--role ROLE] [--out FILE] NAME",
                      "capstan key list [--json]", "capstan key revoke NAME"};
    page_.description =
        "add     Makes a key for a user and prints the file that it goes to: "
        "~/.config/capstan/access, for that user alone (chmod 600). The master keeps only the "
        "public half; who loses the file gets a new key.\n"
        "list    Lists the keys of users and admins. Workers are in capstan workers.\n"
        "revoke  Shuts a name out at once: a user, a worker (what runs there runs elsewhere "
        "then), or invitation, which workers enrol with. A new invitation is made when "
        "worker.access is removed from the master's directory and the master is started again."
        "\n\nA user sees and steers the jobs of that name, an admin everybody's. All of it needs "
        "an admin's key.";
    // clang-format off
    options_.add_options()
        ("role", po::value(&role_)->value_name("ROLE"),
         "With add: user (the default) or admin.")
        ("out,o", po::value(&out_)->value_name("FILE"),
         "With add: write the access file there (it must not exist yet), not to stdout.")
        ("quiet,q", po::bool_switch(&quiet_),
         "With revoke and --out: print nothing.")
        ("json", po::bool_switch(&json_),
         "With list: one JSON object for each key.");
    // clang-format on
    set_examples(
        "  capstan key add bob --out bob.access\n"
        "  capstan key list\n"
        "  capstan key revoke bob\n");
    set_exits(std::string(kPlainExits));
  }

  Outcome<int> run(const Words& words) override {
    const std::string& what = words.positionals.front();
    const bool has_name = words.positionals.size() == 2;
    if (what == "list" && !has_name) return list();
    if (what != "add" && what != "revoke")
      return usage_error("key " + printable(what) +
                         ": there is add NAME, list and revoke NAME (see capstan help key)");
    if (!has_name) return usage_error("key " + what + " needs a name, as in capstan key add bob");
    if (what != "list" && words.has("json")) return usage_error("--json goes with list");
    if (what == "revoke" && (words.has("role") || words.has("out")))
      return usage_error("--role and --out go with add");
    return what == "add" ? add(words.positionals[1]) : revoke(words.positionals[1]);
  }

 private:
  Outcome<int> add(const std::string& name) {
    if (role_ != "user" && role_ != "admin")
      return usage_error("--role is user or admin; a worker enrols with worker.access");
    const Role role = role_ == "admin" ? Role::Admin : Role::User;
    if (!out_.empty() && ::access(out_.c_str(), F_OK) == 0)
      return usage_error("--out " + printable(out_) + " exists: name another file");
    net::Access access = TRY(load_access(common()));
    access.role = role;
    access.name = name;
    access.keys = net::make_key_pair();
    net::EventLoop loop;
    const auto client = TRY(connect(loop, *this));
    // First the file: a key that was let in and got lost would be nobody's.
    if (!out_.empty()) TRY(written());
    auto done = client->change(msg::KeyAdd{{}, name, access.keys.public_key, role});
    if (!done) {
      if (!out_.empty()) ::unlink(out_.c_str());
      return tl::unexpected<Failure>(done.error());
    }
    if (!out_.empty()) {
      if (auto wrote = net::write_access(out_, access); !wrote)
        return fail_with(kExitFailed, wrote.error().message + "; capstan key revoke " + name);
    }
    Output out(STDOUT_FILENO);
    if (out_.empty()) out.write(net::access_text(access));
    if (auto wrote = out.flush(); !wrote)
      return fail_with(kExitFailed, wrote.error().message + "; " + printable(name) +
                                        " was added, and its key is lost: capstan key revoke " +
                                        printable(name));
    if (!quiet_ && !out_.empty())
      print_error("capstan key: {} is for {}: ~/.config/capstan/access there\n", printable(out_),
                  printable(name));
    return kExitOk;
  }

  /// That the file can be written at all.
  Outcome<void> written() const {
    auto wrote = net::write_file_durably(out_, "", 0600);
    if (wrote) return {};
    return fail_with(kExitFailed, wrote.error().message);
  }

  Outcome<int> list() {
    net::EventLoop loop;
    const auto client = TRY(connect(loop, *this));
    const auto keys = TRY(client->ask<msg::KeyList>(msg::ListKeys{}));
    Table table({{"NAME"}, {"ROLE"}, {"ADDED"}, {"BY"}, {"PUBLIC KEY"}}, false);
    Output out(STDOUT_FILENO);
    for (const msg::KeyView& key : keys.keys) {
      if (json_) {
        out.write(json::line(key) + "\n");
        continue;
      }
      table.add({{printable(key.name)},
                 {std::string(to_string(key.role))},
                 {local_time_text(key.added_at)},
                 {key.added_by.empty() ? "-" : printable(key.added_by)},
                 {printable(key.public_key)}});
    }
    out.write(table.page());
    TRY(out.flush());
    return kExitOk;
  }

  Outcome<int> revoke(const std::string& name) {
    net::EventLoop loop;
    const auto client = TRY(connect(loop, *this));
    TRY(client->change(msg::KeyRevoke{{}, name}));
    Output out(STDOUT_FILENO);
    if (!quiet_) out.write(fmt::format("{}: revoked\n", printable(name)));
    TRY(out.flush());
    return kExitOk;
  }

  std::string role_ = "user";
  std::string out_;
  bool quiet_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_key_verb() {
  return std::make_unique<KeyVerb>();
}

}  // namespace capstan::cli
