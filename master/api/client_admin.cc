// SPDX-License-Identifier: MIT
//
// What only an admin may ask: workers drained, resumed, removed; keys given and taken. See
// client_api.h; that it is an admin was checked by its key's role (session.cc).
#include <algorithm>

#include "common/model/limits.h"
#include "common/net/keys.h"
#include "master/api/client_api.h"
#include "master/api/names.h"

namespace capstan::api {

Result<void> ClientApi::on_worker_control(const Session& session,
                                          const msg::WorkerControl& control) {
  const Asked asked = ask(session, control.request);
  const auto refuse = [&](Errc code, std::string reason) -> Result<void> {
    deny(session, control.request, code, std::move(reason));
    return {};
  };
  if (!control.request.is_set() || control.names.empty())
    return refuse(Errc::Invalid, "a request needs an id and the name of a worker");
  if (TRY(was_answered(session, asked))) return {};
  std::vector<WorkerId> workers;
  for (const std::string& name : control.names) {
    const Worker* worker = ledger_.queue().find_worker_by_name(name);
    if (worker == nullptr)
      return refuse(Errc::NotFound, "there is no worker " + name + ": capstan workers lists them");
    workers.push_back(worker->id);
  }
  std::sort(workers.begin(), workers.end());
  workers.erase(std::unique(workers.begin(), workers.end()), workers.end());
  switch (control.verb) {
    case msg::WorkerVerb::Drain:
      ledger_.commit(cmd::WorkersDrained{asked, std::move(workers), true, control.reason});
      break;
    case msg::WorkerVerb::Resume:
      ledger_.commit(cmd::WorkersDrained{asked, std::move(workers), false, ""});
      break;
    case msg::WorkerVerb::Remove:
      ledger_.commit(cmd::WorkersRemoved{asked, std::move(workers)});
      break;
  }
  return {};
}

const net::Identity* ClientApi::own_key(const std::string& name) const {
  const auto it = std::find_if(own_keys_.begin(), own_keys_.end(),
                               [&](const net::Identity& own) { return own.name == name; });
  return it == own_keys_.end() ? nullptr : &*it;
}

Result<void> ClientApi::on_key_add(const Session& session, const msg::KeyAdd& add) {
  const Asked asked = ask(session, add.request);
  const auto refuse = [&](Errc code, std::string reason) -> Result<void> {
    deny(session, add.request, code, std::move(reason));
    return {};
  };
  if (!add.request.is_set()) return refuse(Errc::Invalid, "a request needs an id");
  if (TRY(was_answered(session, asked))) return {};
  if (!is_good_name(add.name))
    return refuse(Errc::Invalid, "a name is 1 to 255 bytes of UTF-8 without spaces and slashes");
  if (!net::is_z85_key(add.public_key)) return refuse(Errc::Invalid, "the public key is no key");
  if (add.role != Role::Admin && add.role != Role::User)
    return refuse(Errc::Invalid, "a key is given to a user or an admin; a worker enrols itself");
  if (own_key(add.name) != nullptr)
    return refuse(Errc::Conflict, add.name + " has a key of the master's own directory already");
  const bool is_own = std::any_of(own_keys_.begin(), own_keys_.end(), [&](const auto& own) {
    return own.public_key == add.public_key;
  });
  if (is_own) return refuse(Errc::Conflict, "this key is the master's own: make a new one");
  ledger_.commit(cmd::KeyAdded{asked, add.name, add.public_key, add.role});
  return {};
}

Result<void> ClientApi::on_key_revoke(const Session& session, const msg::KeyRevoke& revoke) {
  const Asked asked = ask(session, revoke.request);
  if (!revoke.request.is_set()) {
    deny(session, revoke.request, Errc::Invalid, "a request needs an id");
    return {};
  }
  if (TRY(was_answered(session, asked))) return {};
  const net::Identity* own = own_key(revoke.name);
  if (own != nullptr && own->role == Role::Admin) {
    deny(session, revoke.request, Errc::Conflict,
         "this is the key of the master's own admin.access: to replace it, remove that file in "
         "the master's directory and start the master again");
    return {};
  }
  ledger_.commit(cmd::KeyRevoked{asked, revoke.name, own == nullptr ? "" : own->public_key});
  return {};
}

void ClientApi::on_list_keys(const Session& session, const msg::ListKeys& question) {
  msg::KeyList list;
  list.query = question.query;
  const auto& keys = ledger_.queue().keys();
  for (const net::Identity& own : own_keys_) {
    if (!keys.contains(own.public_key))
      list.keys.push_back({own.name, own.role, own.public_key, {}, ""});
  }
  for (const auto& [public_key, row] : keys) {
    if (row.revoked_at.us == 0)
      list.keys.push_back({row.name, row.role, public_key, row.added_at, row.added_by});
  }
  ledger_.hold(session.id, std::move(list));
}

}  // namespace capstan::api
