// SPDX-License-Identifier: MIT
//
// Keys and access files. See state_dir.h.
#include "master/state_dir.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>

#include "common/base/bytes.h"
#include "common/net/addresses.h"
#include "master/store/backup.h"
#include "master/store/files.h"
#include "master/store/sqlite_store.h"

namespace capstan {
namespace {

constexpr const char* kKeyFile = "/master.key";
constexpr const char* kLockFile = "/master.lock";
constexpr const char* kAdoptedFile = "/adopted";
constexpr std::uint64_t kSingleVersion = 1;  ///< Of a single master's list of masters.

/// A first start that was cut short may leave the first four (whole, or while they were written);
/// `config` is put there by a person; a new file system brings the last.
bool is_ours(std::string_view name) {
  constexpr std::array<std::string_view, 6> kOurs = {"master.lock",   "master.key", "admin.access",
                                                     "worker.access", "config",     "lost+found"};
  return std::any_of(kOurs.begin(), kOurs.end(),
                     [&](std::string_view ours) { return name.starts_with(ours); });
}

/// A backup that was put there alone: its keys are in it, so that "put the key back" leads nowhere.
Result<void> refuse_lone_backup(const std::string& file) {
  auto connection = store::Connection::open(file, store::Access::ReadOnly);
  if (!connection) return {};  // Whatever it is, it is none.
  const Result<void> refused = store::refuse_backup(*connection);
  if (refused || refused.error().code != Errc::Invalid) return {};
  return fail(Errc::Invalid, file + ": " + refused.error().message);
}

Result<void> require_new(const std::string& path) {
  // First of all, in whatever order the directory is: other files may be left beside it.
  if (const std::string database = store::database_path(path); store::exists(database)) {
    TRY(refuse_lone_backup(database));
    return fail(Errc::Invalid, path +
                                   " has a database but its master.key is missing: put the "
                                   "key file back (workers and users know no other key)");
  }
  std::error_code error;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!is_ours(name))
      return fail(Errc::Invalid, path + " is not empty (" + printable(name) +
                                     ") and is no master's directory: give another one with --dir");
  }
  if (error) return fail(Errc::Io, "cannot list " + path + ": " + error.message());
  return {};
}

}  // namespace

std::string user_name() {
  const passwd* entry = ::getpwuid(::getuid());
  const std::string name = entry != nullptr && entry->pw_name != nullptr ? entry->pw_name : "";
  return name.empty() || !is_utf8(name) ? "admin" : name;
}

Result<StateDir> StateDir::open(const std::string& path) {
  const bool was_there = store::exists(path);
  TRY(prepare_state_dir(path));
  // Before the lock file is made: somebody else's directory is left as it is.
  if (was_there && !store::exists(path + kKeyFile)) TRY(require_new(path));
  TRY(refuse_adopted(path));
  StateDir dir(path, TRY(DirLock::take(path + kLockFile)));
  if (store::exists(path + kKeyFile))
    TRY(dir.load());
  else
    TRY(dir.make());
  return dir;
}

Result<void> StateDir::make() {
  server_.cluster = Uuid::random();
  server_.role = Role::Master;
  server_.name = "a";
  server_.keys = net::make_key_pair();
  // The address is not known before the listener is up: tell_addresses() puts it right.
  server_.masters = {Member{server_.name, {"localhost:0"}, server_.keys.public_key}};
  TRY(net::write_access(path_ + kKeyFile, server_));
  return load();
}

Result<void> StateDir::load() {
  server_ = TRY(net::read_access(path_ + kKeyFile));
  cluster_ = TRY(read_cluster_file(path_));
  if (server_.role != (is_witness() ? Role::Witness : Role::Master))
    return fail(Errc::Invalid,
                path_ + kKeyFile + " is not the key of a " + (is_witness() ? "witness" : "master"));
  if (cluster_ && (cluster_->cluster != server_.cluster ||
                   cluster_->own().member.public_key != server_.keys.public_key))
    return fail(Errc::Invalid, path_ +
                                   ": master.key is not the key that the file 'cluster' has "
                                   "for " +
                                   cluster_->own().member.name +
                                   ": copy the whole directory that init made for this node");
  if (is_witness()) return {};
  admin_ = TRY(load_access(admin_access(), Role::Admin, user_name()));
  invitation_ = TRY(load_access(worker_access(), Role::Enrolment, "invitation"));
  return {};
}

Result<net::Access> StateDir::load_access(const std::string& file, Role role,
                                          const std::string& name) {
  if (store::exists(file)) {
    net::Access access = TRY(net::read_access(file));
    if (access.role != role || access.cluster != server_.cluster)
      return fail(Errc::Invalid, file +
                                     " is not of this cluster or has another role: remove it, "
                                     "and a new one is made");
    return access;
  }
  net::Access access;
  access.cluster = server_.cluster;
  access.role = role;
  access.name = name;
  access.keys = net::make_key_pair();
  return access;
}

std::vector<Voter> StateDir::voters() const {
  if (cluster_) return cluster_->voters();
  return {{self(), server_.name, false}};
}

std::uint64_t StateDir::members_version() const {
  return cluster_ ? cluster_->version : kSingleVersion;
}

Result<void> StateDir::tell_addresses(const std::vector<Member>& masters) {
  const auto tell = [&](net::Access& access, const std::string& file) -> Result<void> {
    if (access.masters == masters && access.members_version == members_version() &&
        store::exists(file))
      return {};
    access.masters = masters;
    access.members_version = members_version();
    return net::write_access(file, access);
  };
  TRY(tell(server_, path_ + kKeyFile));
  if (is_witness()) return {};
  TRY(tell(admin_, admin_access()));
  return tell(invitation_, worker_access());
}

Result<void> refuse_adopted(const std::string& dir) {
  std::ifstream file(dir + kAdoptedFile);
  std::string node_dir;
  if (!file || !std::getline(file, node_dir)) return {};
  return fail(Errc::Invalid, dir + " was made node " + printable(node_dir) +
                                 " of a cluster (capstan-master init --adopt): start that one. If "
                                 "it was never used, remove " +
                                 dir + kAdoptedFile);
}

Result<void> mark_adopted(const std::string& dir, const std::string& node_dir) {
  return net::write_file_durably(dir + kAdoptedFile, node_dir + "\n", 0600);
}

void unmark_adopted(const std::string& dir) {
  ::unlink((dir + kAdoptedFile).c_str());
}

Result<std::vector<std::string>> addresses_to_dial(const DialOptions& options) {
  const net::HostPort bound = TRY(net::parse_address(options.bound));
  std::vector<std::string> addresses;
  const auto add = [&](const std::string& host, std::uint16_t port) {
    const std::string address = net::to_string(net::HostPort{host, port});
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end())
      addresses.push_back(address);
  };
  for (const std::string& advertised : options.advertised) {
    // HOST alone: also an IPv6 address without brackets has no port.
    Result<net::HostPort> with_port = net::parse_address(advertised);
    if (with_port && with_port->port != 0)
      add(with_port->host, with_port->port);
    else
      add(advertised, bound.port);
  }
  if (!addresses.empty()) return addresses;
  if (!net::is_any_host(bound.host)) {
    add(bound.host, bound.port);
    return addresses;
  }
  add(net::host_name(), bound.port);
  for (const std::string& global : net::global_addresses()) add(global, bound.port);
  return addresses;
}

}  // namespace capstan
