// SPDX-License-Identifier: MIT
#include "cli/access_lookup.h"

#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "cli/known_members.h"
#include "common/base/dirs.h"

namespace capstan::cli {
namespace {

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

/// "~/x" as a shell would have it: nobody does it for a file's values.
std::string expanded(const std::string& path) {
  const char* home = std::getenv("HOME");
  return path.starts_with("~/") && home != nullptr ? home + path.substr(1) : path;
}

}  // namespace

Outcome<std::string> find_access(const CommonOptions& common) {
  if (!common.access.empty()) {
    const std::string path = expanded(common.access);
    if (exists(path)) return path;
    if (!common.access_origin.empty()) {
      return fail_with(kExitUnavailable,
                       printable(common.access_origin) + " names " + printable(path) +
                           ", which does not exist: has that cluster ended? (change it, or "
                           "--access)");
    }
    return usage_error("--access " + printable(common.access) +
                       ": there is no such file; a master makes admin.access in its directory");
  }
  std::string looked;
  if (const auto config = default_config_dir()) {
    const std::string path = *config + "/access";
    if (exists(path)) return path;
    looked = path;
  }
  if (const auto state = default_state_dir("master")) {
    const std::string path = *state + "/admin.access";
    if (exists(path)) return path;
    looked += (looked.empty() ? "" : " and ") + path;
  }
  return fail_with(kExitUnavailable,
                   "no master is known here (looked at " + looked +
                       "): start capstan-master, try capstan dev, or name a file with --access");
}

Outcome<net::Access> load_access(const CommonOptions& common) {
  const std::string path = TRY(find_access(common));
  net::Access access = TRY(as_usage(net::read_access(path)));
  if (access.role == Role::Admin || access.role == Role::User) {
    const std::string known = known_members_file(access.cluster);
    return with_known_members(std::move(access), known);
  }
  return usage_error(printable(path) + " is a key of role " + std::string(to_string(access.role)) +
                     ": the command line needs admin.access, or a user's file");
}

Outcome<std::unique_ptr<Client>> connect(net::EventLoop& loop, const Verb& verb,
                                         const Interrupts* interrupts) {
  Client::Options options;
  options.access = TRY(load_access(verb.common()));
  options.members_file = known_members_file(options.access.cluster);
  options.timeout = verb.common().timeout;
  options.verb = verb.name();
  options.interrupts = interrupts;
  return Client::open(loop, std::move(options));
}

}  // namespace capstan::cli
