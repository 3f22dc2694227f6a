// SPDX-License-Identifier: MIT
#include "cli/known_members.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "common/base/dirs.h"

namespace capstan::cli {
namespace {

struct Known {
  Generation generation;
  std::uint64_t version = 0;
  std::vector<Member> masters;
};

template <class Int>
bool read_number(std::string_view text, Int& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

std::optional<Known> read_known(const std::string& file) {
  const auto text = net::read_named_lines(file);
  if (!text) return std::nullopt;
  Known known;
  bool is_whole = true;
  for (const net::NamedLine& line : text->lines) {
    if (line.name == "began") {
      is_whole = is_whole && read_number(line.value, known.generation.began_us);
    } else if (line.name == "random") {
      is_whole = is_whole && read_number(line.value, known.generation.random);
    } else if (line.name == "members_version") {
      is_whole = is_whole && read_number(line.value, known.version);
    } else if (line.name == "master") {
      const auto member = net::parse_member(line.value);
      if (!member) return std::nullopt;
      known.masters.push_back(*member);
    }
  }
  if (!is_whole || known.version == 0 || known.masters.empty()) return std::nullopt;
  return known;
}

std::string text_of(const Known& known) {
  std::string text = "# The masters of a Capstan cluster, as one of them told them.\n";
  text += "began = " + std::to_string(known.generation.began_us) + "\n";
  text += "random = " + std::to_string(known.generation.random) + "\n";
  text += "members_version = " + std::to_string(known.version) + "\n";
  for (const Member& master : known.masters) text += "master = " + net::member_text(master) + "\n";
  return text;
}

/// A restore is a new life whose list begins anew, perhaps elsewhere: its access file must help.
void add_missing(std::vector<Member>& masters, const std::vector<Member>& others) {
  for (const Member& other : others) {
    const auto same = std::find_if(masters.begin(), masters.end(), [&](const Member& master) {
      return master.public_key == other.public_key;
    });
    if (same == masters.end()) {
      masters.push_back(other);
      continue;
    }
    for (const std::string& address : other.addresses) {
      auto& known = same->addresses;
      if (std::find(known.begin(), known.end(), address) == known.end()) known.push_back(address);
    }
  }
}

}  // namespace

std::string known_members_file(const Uuid& cluster) {
  const auto home = default_state_home();
  return home && cluster.is_set() ? *home + "/members/" + cluster.hex() : "";
}

net::Access with_known_members(net::Access access, const std::string& file) {
  if (file.empty()) return access;
  std::optional<Known> known = read_known(file);
  if (!known || known->version <= access.members_version) return access;
  add_missing(known->masters, access.masters);
  access.masters = std::move(known->masters);
  access.members_version = known->version;
  return access;
}

void remember_members(const std::string& file, const net::Access& access,
                      const msg::Welcome& welcome) {
  if (file.empty() || welcome.members.empty() || welcome.members_version == 0) return;
  const Known told{welcome.generation, welcome.members_version, welcome.members};
  const std::optional<Known> known = read_known(file);
  const bool is_as_known = known && known->generation == told.generation &&
                           known->version == told.version && known->masters == told.masters;
  const bool is_older =
      known && (told.generation < known->generation ||
                (told.generation == known->generation && told.version < known->version));
  const bool is_as_given =
      !known && access.members_version == told.version && access.masters == told.masters;
  if (is_as_known || is_older || is_as_given) return;
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(file).parent_path(), ignored);
  static_cast<void>(net::write_file_durably(file, text_of(told), 0600));
}

}  // namespace capstan::cli
