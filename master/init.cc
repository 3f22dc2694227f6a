// SPDX-License-Identifier: MIT
#include "master/init.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/config_file.h"
#include "common/base/dirs.h"
#include "common/net/addresses.h"
#include "common/net/keys.h"
#include "master/cluster_file.h"
#include "master/state_dir.h"
#include "master/store/files.h"
#include "master/store/sqlite_store.h"
#include "master/store/vote_file.h"

namespace capstan {
namespace {

namespace fs = std::filesystem;

/// Absolute, without "." and the slash at the end: it is renamed to, and told to others.
Result<std::string> whole_path(const std::string& path) {
  if (path.empty()) return fail(Errc::Invalid, "the directory to make is missing: name it");
  std::error_code error;
  std::string whole = fs::absolute(path, error).lexically_normal().string();
  if (error) return fail(Errc::Io, printable(path) + ": " + error.message());
  while (whole.size() > 1 && whole.ends_with('/')) whole.pop_back();
  return whole;
}

// --- What was asked ------------------------------------------------------------------------------

Result<void> check_address(const NodePlace& node, const std::string& address) {
  const net::HostPort at = TRY(net::parse_address(address));
  const std::string where = node.name + "=" + printable(address);
  if (at.port == 0) return fail(Errc::Invalid, where + ": the others must know the port: name one");
  if (net::is_any_host(at.host))
    return fail(Errc::Invalid, where + ": nobody can dial that: name the machine");
  return {};
}

Result<void> check_nodes(const std::vector<NodePlace>& nodes) {
  std::set<std::string> names;
  std::set<std::string> addresses;
  for (const NodePlace& node : nodes) {
    if (!is_node_name(node.name))
      return fail(Errc::Invalid, "'" + printable(node.name) +
                                     "' is no name for a node: letters, digits, - and _, at most "
                                     "32 (a=HOST:PORT)");
    if (!names.insert(node.name).second)
      return fail(Errc::Invalid, "two nodes are called '" + node.name + "'");
    for (const std::string& address : node.addresses) {
      TRY(check_address(node, address));
      if (!addresses.insert(net::to_string(TRY(net::parse_address(address)))).second)
        return fail(Errc::Invalid, printable(address) + " is given twice: each node has its own");
    }
  }
  return {};
}

std::vector<NodePlace> all_places(const InitOptions& options) {
  std::vector<NodePlace> all = options.masters;
  all.insert(all.end(), options.witnesses.begin(), options.witnesses.end());
  return all;
}

Result<void> check(const InitOptions& options) {
  if (options.masters.size() != 2)
    return fail(Errc::Invalid,
                "--masters needs two: a=HOST:PORT,b=HOST:PORT (a master alone needs "
                "no init)");
  if (options.witnesses.size() != 1)
    return fail(Errc::Invalid,
                "a pair needs one --witness w=HOST:PORT: two masters that do not see each other "
                "cannot tell which of them may lead. It may be any third machine, a worker's too");
  return check_nodes(all_places(options));
}

/// Missing, or empty.
Result<void> require_free(const std::string& dir) {
  std::error_code error;
  if (!fs::exists(dir, error)) return {};
  if (!fs::is_directory(dir, error))
    return fail(Errc::NotAllowed,
                printable(dir) + " is no directory: name one that does not exist");
  const bool is_empty = fs::is_empty(dir, error);
  if (error) return fail(Errc::Io, "cannot list " + printable(dir) + ": " + error.message());
  if (!is_empty)
    return fail(Errc::NotAllowed, printable(dir) +
                                      " is not empty, and init never changes what is there: name "
                                      "a directory that does not exist yet");
  return {};
}

// --- A single master that is adopted -------------------------------------------------------------

/// What the new cluster takes over.
struct Adopted {
  DirLock lock;  ///< Nobody starts it meanwhile.
  net::Access server;
  std::optional<net::Access> admin, invitation;
};

Result<std::optional<net::Access>> read_if_there(const std::string& path) {
  auto access = net::read_access(path);
  if (!access && access.error().code == Errc::NotFound) return std::optional<net::Access>();
  if (!access) return tl::unexpected(access.error());
  return std::optional<net::Access>(std::move(*access));
}

Result<Adopted> take_over(const std::string& dir) {
  const auto refuse = [&](const std::string& why) {
    return fail(Errc::Invalid, "--adopt " + printable(dir) + ": " + why);
  };
  std::error_code error;
  if (!fs::exists(dir + "/master.key", error)) return refuse("there is no master.key");
  if (!fs::exists(store::database_path(dir), error))
    return refuse("it has no queue yet (capstan.db): leave --adopt out");
  if (TRY(read_cluster_file(dir))) return refuse("it is a node of a cluster already");
  TRY(refuse_adopted(dir));
  auto lock = DirLock::take(dir + "/master.lock");
  if (!lock && lock.error().code == Errc::Locked)
    return fail(Errc::Locked, "--adopt " + printable(dir) + ": its master runs: stop it first (" +
                                  lock.error().message + ")");
  if (!lock) return tl::unexpected(lock.error());
  net::Access server = TRY(net::read_access(dir + "/master.key"));
  if (server.role != Role::Master) return refuse("master.key is not the key of a master");
  return Adopted{std::move(*lock), std::move(server), TRY(read_if_there(dir + "/admin.access")),
                 TRY(read_if_there(dir + "/worker.access"))};
}

/// Its database with the WAL, its delivered output, its configuration. The rest is made anew.
bool is_carried(std::string_view name) {
  return name == "capstan.db" || name == "capstan.db-wal" || name == "logs" || name == "config";
}

Result<void> copy_queue(const std::string& from, const std::string& to) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(from, error)) {
    const std::string name = entry.path().filename().string();
    if (!is_carried(name)) continue;
    fs::copy(entry.path(), fs::path(to) / name, fs::copy_options::recursive, error);
    if (error) return fail(Errc::Io, "copying " + entry.path().string() + ": " + error.message());
  }
  if (error) return fail(Errc::Io, "cannot list " + printable(from) + ": " + error.message());
  return {};
}

/// The copy, opened as a start opens it: what it says of itself, and that it is whole.
Result<store::Meta> open_copy(const std::string& dir) {
  store::StoreOptions options;
  options.dir = dir;
  options.nonce = random_number();
  store::Opened opened;
  const auto store = TRY(store::SqliteStore::open(options, opened));
  TRY(store::quick_check(dir));
  TRY(store->close());
  store->release_ballast();  // 16 MiB less to copy: its next start makes it again.
  return opened.meta;
}

/// The vote of the master that is adopted: nobody may ever vote below it.
Result<Epoch> highest_epoch(const std::string& dir, const store::Meta& meta) {
  const auto file = store::VoteFile::open(dir + "/capstan.vote");
  if (!file && file.error().code == Errc::NotFound) return meta.last_epoch;
  if (!file) return tl::unexpected(file.error());
  return std::max({file->vote().promised, file->vote().reg.epoch, meta.last_epoch});
}

void warn_of_adopted(const InitOptions& options, const Adopted& old,
                     std::vector<std::string>& warnings) {
  const auto& now = options.masters.front().addresses;
  bool is_found = false;
  std::string before;
  for (const Member& master : old.server.masters) {
    if (master.public_key != old.server.keys.public_key) continue;  // Another one of a pair.
    for (const std::string& address : master.addresses) {
      is_found = is_found || std::find(now.begin(), now.end(), address) != now.end();
      before += (before.empty() ? "" : ", ") + address;
    }
  }
  if (!is_found)
    warnings.push_back("workers and users know the master at " + before +
                       ", which is not among the addresses of " + options.masters.front().name +
                       ": they find the new pair only if they are told (or say " +
                       options.masters.front().name + "=HOST:PORT,OLDHOST:PORT)");
  const auto config = config::read_file(options.adopt + "/config");
  for (const config::Line& line : config ? *config : std::vector<config::Line>()) {
    if (line.setting.name == "listen" || line.setting.name == "advertise")
      warnings.push_back(line.setting.origin + " has '" + line.setting.name +
                         "', which goes before the cluster's file: look at the copy of it");
  }
}

// --- Making it -----------------------------------------------------------------------------------

struct Plan {
  const InitOptions& options;
  std::string part;  ///< Where it is made.
  std::optional<Adopted> old;
  ClusterFile cluster;
  std::vector<net::KeyPair> keys;  ///< Of the nodes.
  net::Access admin, invitation;
  Vote data_vote, vote;  ///< Of node 1, of the others.
};

net::Access made_access(const Plan& plan, Role role, const std::string& name) {
  net::Access access;
  access.cluster = plan.cluster.cluster;
  access.role = role;
  access.name = name;
  access.keys = net::make_key_pair();
  return access;
}

void name_nodes(Plan& plan) {
  NodeId id = 0;
  for (const NodePlace& place : all_places(plan.options)) {
    ClusterNode node;
    node.id = ++id;
    node.is_witness = id > plan.options.masters.size();
    plan.keys.push_back(id == 1 && plan.old ? plan.old->server.keys : net::make_key_pair());
    node.member = {place.name, place.addresses, plan.keys.back().public_key};
    plan.cluster.nodes.push_back(std::move(node));
  }
}

Result<void> make_votes(Plan& plan) {
  Vote& vote = plan.vote;
  vote.reg.isr = {1, 2};
  plan.data_vote = vote;
  if (!plan.old) return {};
  const std::string first = plan.part + "/" + plan.options.masters.front().name;
  const store::Meta meta = TRY(open_copy(first));
  if (meta.cluster != plan.cluster.cluster)
    return fail(Errc::Invalid, "--adopt " + printable(plan.options.adopt) +
                                   ": the database is of another cluster than master.key");
  plan.cluster.generation = meta.generation;
  vote.promised = TRY(highest_epoch(plan.options.adopt, meta));
  vote.reg.epoch = vote.promised;
  vote.reg.isr = {1};  // Only that one has the queue: the other one has to catch up first.
  plan.data_vote = vote;
  plan.data_vote.nonce = meta.nonce;
  return {};
}

Result<void> write_node(Plan& plan, std::size_t i) {
  const ClusterNode& node = plan.cluster.nodes[i];
  const std::string dir = plan.part + "/" + node.member.name;
  TRY(prepare_state_dir(dir));
  net::Access server;
  server.cluster = plan.cluster.cluster;
  server.role = node.is_witness ? Role::Witness : Role::Master;
  server.name = node.member.name;
  server.keys = plan.keys[i];
  server.masters = plan.cluster.masters();
  server.members_version = plan.cluster.version;
  TRY(net::write_access(dir + "/master.key", server));
  plan.cluster.self = node.id;
  TRY(write_cluster_file(dir, plan.cluster));
  TRY(store::VoteFile::create(dir + "/capstan.vote", i == 0 ? plan.data_vote : plan.vote));
  if (node.is_witness) return {};
  TRY(net::write_access(dir + "/admin.access", plan.admin));
  return net::write_access(dir + "/worker.access", plan.invitation);
}

Result<void> make(Plan& plan) {
  plan.cluster.cluster = plan.old ? plan.old->server.cluster : Uuid::random();
  plan.cluster.generation = {SystemClock().wall().us, random_number()};
  name_nodes(plan);
  if (plan.old) {
    const std::string first = plan.part + "/" + plan.options.masters.front().name;
    TRY(prepare_state_dir(first));
    TRY(copy_queue(plan.options.adopt, first));
  }
  TRY(make_votes(plan));
  plan.admin =
      plan.old && plan.old->admin ? *plan.old->admin : made_access(plan, Role::Admin, user_name());
  plan.invitation = plan.old && plan.old->invitation
                        ? *plan.old->invitation
                        : made_access(plan, Role::Enrolment, "invitation");
  for (net::Access* access : {&plan.admin, &plan.invitation}) {
    access->masters = plan.cluster.masters();
    access->members_version = plan.cluster.version;
  }
  for (std::size_t i = 0; i < plan.cluster.nodes.size(); ++i) TRY(write_node(plan, i));
  TRY(net::write_access(plan.part + "/admin.access", plan.admin));
  return net::write_access(plan.part + "/worker.access", plan.invitation);
}

/// Durable, whole: what was copied was not synced file by file.
Result<void> sync_all(const std::string& dir) {
  const UniqueFd fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::syncfs(fd.get()) != 0)
    return fail(Errc::Io, "syncing " + printable(dir) + ": " + errno_text(errno));
  return {};
}

/// From here on the old directory is void, then the new one is there.
Result<void> put_in_place(const Plan& plan, const std::string& dir) {
  TRY(sync_all(plan.part));
  const std::string& old = plan.options.adopt;
  if (plan.old) TRY(mark_adopted(old, dir + "/" + plan.options.masters.front().name));
  if (::rename(plan.part.c_str(), dir.c_str()) != 0) {
    const std::string why = errno_text(errno);
    if (plan.old) unmark_adopted(old);
    return fail(Errc::Io, "making " + printable(dir) + ": " + why);
  }
  const std::string above = fs::path(dir).parent_path().string();
  return store::sync_dir(above.empty() ? "." : above);
}

}  // namespace

Result<std::vector<NodePlace>> parse_places(std::string_view text) {
  std::vector<NodePlace> places;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(item.size() + 1, text.size()));
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos && places.empty())
      return fail(Errc::Invalid, "'" + printable(item) + "' names no node: write a=HOST:PORT");
    if (equals != std::string_view::npos)
      places.push_back({std::string(item.substr(0, equals)), {}});
    const std::size_t from = equals == std::string_view::npos ? 0 : equals + 1;
    places.back().addresses.emplace_back(item.substr(from));
  }
  return places;
}

Result<std::vector<std::string>> init_cluster(const InitOptions& asked) {
  InitOptions options = asked;
  TRY(check(options));
  options.dir = TRY(whole_path(options.dir));
  TRY(require_free(options.dir));
  Plan plan{options, options.dir + ".making-" + Uuid::random().hex().substr(0, 12),
            {},      {},
            {},      {},
            {},      {},
            {}};
  std::vector<std::string> warnings;
  std::vector<Member> members;
  for (const NodePlace& place : all_places(options))
    members.push_back({place.name, place.addresses, ""});
  for (std::string& warning : shared_machines(members)) warnings.push_back(std::move(warning));
  if (!options.adopt.empty()) {
    options.adopt = TRY(whole_path(options.adopt));
    plan.old = TRY(take_over(options.adopt));
    warn_of_adopted(options, *plan.old, warnings);
  }
  TRY(prepare_state_dir(plan.part));
  Result<void> made = make(plan);
  if (made) made = put_in_place(plan, options.dir);
  std::error_code ignored;
  if (!made) {
    fs::remove_all(plan.part, ignored);
    return tl::unexpected(made.error());
  }
  return warnings;
}

}  // namespace capstan
