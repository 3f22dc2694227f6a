// SPDX-License-Identifier: MIT
#include "master/cluster_file.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "common/base/check.h"
#include "common/net/addresses.h"
#include "common/net/keys.h"

namespace capstan {
namespace {

constexpr const char* kFile = "/cluster";
constexpr std::size_t kNodeNameBytes = 32;

std::string_view next_word(std::string_view& rest) {
  const std::size_t first = std::min(rest.find_first_not_of(' '), rest.size());
  rest.remove_prefix(first);
  const std::string_view word = rest.substr(0, rest.find(' '));
  rest.remove_prefix(word.size());
  return word;
}

template <class Int>
Result<Int> parse_number(std::string_view text) {
  Int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return fail(Errc::Corrupt, "not a number: " + std::string(text));
  }
  return number;
}

/// "a 1 data KEY ADDR[,ADDR]"
Result<ClusterNode> parse_node(std::string_view rest) {
  const std::string name(next_word(rest));
  ClusterNode node;
  node.id = TRY(parse_number<NodeId>(next_word(rest)));
  const std::string_view kind = next_word(rest);
  if (kind != "data" && kind != "witness") {
    return fail(Errc::Corrupt, "a node is data or witness");
  }
  node.is_witness = kind == "witness";
  node.member = TRY(net::parse_member(name + std::string(rest)));
  return node;
}

struct Draft {
  ClusterFile file;
  std::string self;
};

Result<void> take(Draft& draft, std::string_view name, std::string_view value) {
  ClusterFile& file = draft.file;
  if (name == "cluster") {
    file.cluster = TRY(net::parse_uuid(value));
  } else if (name == "generation") {
    file.generation.began_us = TRY(parse_number<std::int64_t>(next_word(value)));
    file.generation.random = TRY(parse_number<std::uint64_t>(next_word(value)));
  } else if (name == "version") {
    file.version = TRY(parse_number<std::uint64_t>(value));
  } else if (name == "self") {
    draft.self = std::string(value);
  } else if (name == "node") {
    file.nodes.push_back(TRY(parse_node(value)));
  } else {
    // Who votes depends on all of it: nothing may be left out.
    return fail(Errc::Corrupt, "unknown: " + std::string(name));
  }
  return {};
}

/// What is wrong with the whole; "": nothing.
std::string flaw_of(const Draft& draft) {
  const auto& nodes = draft.file.nodes;
  if (!draft.file.cluster.is_set()) return "no line \"cluster = ...\"";
  if (nodes.empty() || nodes.front().is_witness) return "the first node must have the queue";
  if (nodes.size() > kVotersMax) return "too many nodes";
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (!is_node_name(nodes[i].member.name)) return "a node has no proper name";
    if (nodes[i].id == 0 || (i > 0 && nodes[i].id <= nodes[i - 1].id)) {
      return "the nodes' numbers must ascend from 1";
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (nodes[j].member.name == nodes[i].member.name) return "two nodes have the same name";
      if (nodes[j].member.public_key == nodes[i].member.public_key) {
        return "two nodes have the same key";
      }
    }
  }
  return draft.file.self == 0 ? "no node has the name that \"self\" says" : "";
}

}  // namespace

const ClusterNode& ClusterFile::own() const {
  const auto found =
      std::find_if(nodes.begin(), nodes.end(), [&](const auto& node) { return node.id == self; });
  CHECK(found != nodes.end());
  return *found;
}

std::vector<Voter> ClusterFile::voters() const {
  std::vector<Voter> all;
  for (const ClusterNode& node : nodes) {
    all.push_back({node.id, node.member.name, node.is_witness});
  }
  return all;
}

std::vector<Member> ClusterFile::masters() const {
  std::vector<Member> all;
  for (const ClusterNode& node : nodes) {
    if (!node.is_witness) all.push_back(node.member);
  }
  return all;
}

Result<std::optional<ClusterFile>> read_cluster_file(const std::string& dir) {
  const std::string path = dir + kFile;
  const auto text = net::read_named_lines(path);
  if (!text && text.error().code == Errc::NotFound) return std::optional<ClusterFile>();
  if (!text) return tl::unexpected(text.error());
  Draft draft;
  for (const net::NamedLine& line : text->lines) {
    const auto taken = take(draft, line.name, line.value);
    if (!taken) return fail(Error{Errc::Corrupt, taken.error().message}, line.where);
  }
  for (const ClusterNode& node : draft.file.nodes) {
    if (node.member.name == draft.self) draft.file.self = node.id;
  }
  const std::string flaw = flaw_of(draft);
  if (!flaw.empty()) return fail(Errc::Corrupt, path + ": " + flaw);
  return std::optional<ClusterFile>(std::move(draft.file));
}

Result<void> write_cluster_file(const std::string& dir, const ClusterFile& file) {
  std::string text =
      "# The nodes of a Capstan cluster, as capstan-master init made it. Do not change it: who "
      "may\n"
      "# lead is decided by those that are named here.\n";
  text += "cluster = " + file.cluster.hex() + "\n";
  text += "generation = " + std::to_string(file.generation.began_us) + " " +
          std::to_string(file.generation.random) + "\n";
  text += "version = " + std::to_string(file.version) + "\n";
  text += "self = " + file.own().member.name + "\n";
  for (const ClusterNode& node : file.nodes) {
    Member rest = node.member;
    rest.name =
        node.member.name + " " + std::to_string(node.id) + (node.is_witness ? " witness" : " data");
    text += "node = " + net::member_text(rest) + "\n";
  }
  return net::write_file_durably(dir + kFile, text, 0600);
}

bool is_node_name(std::string_view name) {
  const auto fits = [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  };
  return !name.empty() && name.size() <= kNodeNameBytes && name.front() != '-' &&
         std::all_of(name.begin(), name.end(), fits);
}

std::vector<std::string> shared_machines(const std::vector<Member>& nodes) {
  std::map<std::string, std::string> names;  // By host.
  std::set<std::string> shared;
  for (const Member& node : nodes) {
    const std::string host =
        net::parse_address(node.addresses.front()).value_or(net::HostPort{}).host;
    std::string& here = names[host];
    if (!here.empty()) shared.insert(host);
    here += (here.empty() ? "" : " and ") + node.name;
  }
  std::vector<std::string> sentences;
  for (const std::string& host : shared)
    sentences.push_back(names[host] + " are on one machine (" + host +
                        "): when it fails, nobody takes over");
  return sentences;
}

Result<std::string> default_listen(const std::string& dir, const std::string& otherwise) {
  const std::optional<ClusterFile> file = TRY(read_cluster_file(dir));
  if (!file) return otherwise;
  net::HostPort own = TRY(net::parse_address(file->own().member.addresses.front()));
  in_addr v4{};
  const bool is_number =
      own.host.find(':') != std::string::npos || ::inet_pton(AF_INET, own.host.c_str(), &v4) == 1;
  if (!is_number && !net::is_loopback(own.host)) own.host = "0.0.0.0";
  return net::to_string(own);
}

}  // namespace capstan
