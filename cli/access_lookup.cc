// SPDX-License-Identifier: MIT
#include "cli/access_lookup.h"

#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "common/base/dirs.h"

namespace capstan::cli {
namespace {

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

}  // namespace

Outcome<std::string> find_access(const CommonOptions& common) {
  if (!common.access.empty()) {
    if (exists(common.access)) return common.access;
    return usage_error("--access " + printable(common.access) +
                       ": there is no such file; a master makes admin.access in its directory");
  }
  if (const char* env = std::getenv("CAPSTAN_ACCESS"); env != nullptr && *env != '\0') {
    if (exists(env)) return std::string(env);
    return fail_with(kExitUnavailable,
                     "$CAPSTAN_ACCESS names " + printable(env) +
                         ", which does not exist: has that cluster ended? (unset it, or --access)");
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
  if (access.role == Role::Admin || access.role == Role::User) return access;
  return usage_error(printable(path) + " is a key of role " + std::string(to_string(access.role)) +
                     ": the command line needs admin.access, or a user's file");
}

Outcome<std::unique_ptr<Client>> connect(net::EventLoop& loop, const Verb& verb,
                                         const Interrupts* interrupts) {
  Client::Options options;
  options.access = TRY(load_access(verb.common()));
  options.timeout = verb.common().timeout;
  options.verb = verb.name();
  options.interrupts = interrupts;
  return Client::open(loop, std::move(options));
}

}  // namespace capstan::cli
