// SPDX-License-Identifier: MIT
#include "worker/identity.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include "tests/support/temp_dir.h"

namespace capstan {
namespace {

net::Access an_access(Role role) {
  return {.cluster = Uuid::random(),
          .role = role,
          .name = "somebody",
          .keys = net::make_key_pair(),
          .masters = {{"a", {"127.0.0.1:7741"}, net::make_key_pair().public_key}}};
}

struct Fixture {
  test::TempDir dir;
  test::TempDir other;
  std::string invitation_file = other.path() + "/invitation";

  net::Access invited() {
    REQUIRE(net::write_access(invitation_file, an_access(Role::Enrolment)));
    const auto invitation = find_invitation(invitation_file);
    REQUIRE(invitation);
    return *invitation;
  }
};

TEST_SUITE("worker/identity") {
  TEST_CASE_FIXTURE(Fixture, "a new directory has no key, an enrolled one its own") {
    auto own = own_access(dir.path());
    REQUIRE(own);
    CHECK_FALSE(*own);
    const net::Access invitation = invited();
    const auto keys = pending_keys(dir.path(), invitation);
    REQUIRE(keys);
    REQUIRE(finish_enrolment(dir.path(), invitation, *keys, "w1-2"));
    own = own_access(dir.path());
    REQUIRE(own);
    REQUIRE(*own);
    CHECK((*own)->name == "w1-2");
    CHECK((*own)->role == Role::Worker);
    CHECK((*own)->keys.secret_key == keys->secret_key);
    CHECK((*own)->masters == invitation.masters);
    CHECK(::access((dir.path() + "/worker.pending").c_str(), F_OK) != 0);
  }

  TEST_CASE_FIXTURE(Fixture, "until it is enrolled the same pair is sent, also after a crash") {
    const net::Access invitation = invited();
    const auto first = pending_keys(dir.path(), invitation);
    const auto second = pending_keys(dir.path(), invitation);
    REQUIRE(first);
    REQUIRE(second);
    CHECK(first->public_key == second->public_key);
    CHECK(first->public_key != invitation.keys.public_key);
  }

  TEST_CASE_FIXTURE(Fixture, "an admin's or a user's file is no invitation") {
    for (const Role role : {Role::Admin, Role::User, Role::Worker}) {
      REQUIRE(net::write_access(invitation_file, an_access(role)));
      const auto invitation = find_invitation(invitation_file);
      REQUIRE_FALSE(invitation);
      CHECK(invitation.error().code == Errc::NotAllowed);
      CHECK(invitation.error().message.find(to_string(role)) != std::string::npos);
    }
    const auto missing = find_invitation(other.path() + "/missing");
    REQUIRE_FALSE(missing);
    CHECK(missing.error().code == Errc::Invalid);
  }

  TEST_CASE_FIXTURE(Fixture, "without a file it is that of a master on this machine, or words") {
    REQUIRE(::setenv("XDG_STATE_HOME", other.path().c_str(), 1) == 0);
    const auto none = find_invitation("");
    ::unsetenv("XDG_STATE_HOME");
    REQUIRE_FALSE(none);
    CHECK(none.error().code == Errc::NotAllowed);
    CHECK(none.error().message.find("--access") != std::string::npos);
  }

  TEST_CASE_FIXTURE(Fixture, "masters that moved are remembered") {
    const net::Access invitation = invited();
    auto access =
        finish_enrolment(dir.path(), invitation, *pending_keys(dir.path(), invitation), "w1");
    REQUIRE(access);
    std::vector<Member> masters = invitation.masters;
    masters[0].addresses = {"10.0.0.1:7741", "10.0.0.2:7741"};
    REQUIRE(update_access(dir.path(), *access, "w1", {masters, 3}));
    REQUIRE(update_access(dir.path(), *access, "", {}));  // Nothing said: nothing changes.
    const auto own = own_access(dir.path());
    REQUIRE(own);
    CHECK((*own)->masters == masters);
  }

  TEST_CASE_FIXTURE(Fixture, "a directory keeps its id") {
    const auto id = directory_id(dir.path());
    REQUIRE(id);
    CHECK(id->size() == 32);
    CHECK(directory_id(dir.path()).value() == *id);
    CHECK(directory_id(other.path()).value() != *id);
  }
}

}  // namespace
}  // namespace capstan
