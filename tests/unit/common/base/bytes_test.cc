// SPDX-License-Identifier: MIT
#include "common/base/bytes.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <string>

#include "common/base/rng.h"

using namespace capstan;
using namespace std::string_literals;

namespace {

std::string what_sh_prints(const std::string& words) {
  std::FILE* sh = ::popen(("printf %s " + words).c_str(), "r");
  REQUIRE(sh != nullptr);
  std::string out;
  for (int c = std::fgetc(sh); c != EOF; c = std::fgetc(sh)) out += static_cast<char>(c);
  REQUIRE(::pclose(sh) == 0);
  return out;
}

}  // namespace

TEST_SUITE_BEGIN("common/base/bytes");

TEST_CASE("well-formed UTF-8 is told from everything else") {
  CHECK(is_utf8(""));
  CHECK(is_utf8("plain text that is longer than eight bytes"));
  CHECK(is_utf8("grüße, 写真, \xF0\x9F\x93\xB7"));
  CHECK(is_utf8("\xF4\x8F\xBF\xBF"));        // U+10FFFF
  CHECK_FALSE(is_utf8("\xF4\x90\x80\x80"));  // Above it.
  CHECK_FALSE(is_utf8("\xC0\x80"));          // Overlong NUL.
  CHECK_FALSE(is_utf8("\xE0\x9F\xBF"));      // Overlong.
  CHECK_FALSE(is_utf8("\xED\xA0\x80"));      // A surrogate.
  CHECK_FALSE(is_utf8("12345678\xC3"));      // Cut off.
  CHECK_FALSE(is_utf8("\x80"));
  CHECK_FALSE(is_utf8("a\0b"s));
  CHECK_FALSE(is_utf8("12345678abcdefg\0"s));  // A NUL at every place of a word.
  for (std::size_t i = 0; i < 24; ++i) {
    std::string text(24, 'x');
    text[i] = '\0';
    CHECK_FALSE(is_utf8(text));
    text[i] = '\xFF';
    CHECK_FALSE(is_utf8(text));
  }
}

TEST_CASE("what cannot be printed becomes \\xNN, and is UTF-8 then") {
  CHECK(printable("grüße \\ \"") == "grüße \\ \"");
  CHECK(printable("a\nb\x7F\x1B[0m") == "a\\x0ab\\x7f\\x1b[0m");
  CHECK(printable("\xFFz\0"s) == "\\xffz\\x00");
  CHECK(printable("\xC2\x9B") == "\\xc2\\x9b");  // A terminal may take it for an escape.
  Rng rng(7);
  for (int i = 0; i < 1000; ++i) {
    std::string bytes(rng.below(40), ' ');
    for (char& c : bytes) c = static_cast<char>(rng.next());
    CHECK(is_utf8(printable(bytes)));
  }
}

TEST_CASE("quoting for sh keeps plain words and gives sh the same bytes back") {
  CHECK(shell_quoted("a/b-c_1.jpg") == "a/b-c_1.jpg");
  CHECK(shell_quoted("") == "''");
  CHECK(shell_quoted("a b") == "'a b'");
  CHECK(shell_quoted("~") == "'~'");
  CHECK(shell_quoted("A=b") == "'A=b'");
  for (const std::string word : {"it's", "''", "a\nb", "$(id) `id` $HOME", "-n", "*", "\\", "\"",
                                 "\xFF\x80", "#x", "!x", "a;b|c&d"}) {
    CAPTURE(word);
    CHECK(what_sh_prints(shell_quoted(word)) == word);
  }
}

TEST_CASE("a chained digest depends on all that came before") {
  const Digest first = chained_digest({}, "one");
  CHECK(first == chained_digest({}, "one"));
  CHECK(first != chained_digest({}, "two"));
  CHECK(chained_digest(first, "x") != chained_digest({}, "x"));
  CHECK(first.hex().size() == 32);
  CHECK(Digest{}.hex() == std::string(32, '0'));
}

TEST_CASE("sizes for people") {
  CHECK(size_text(0) == "0 B");
  CHECK(size_text(1023) == "1023 B");
  CHECK(size_text(1024) == "1.0 KiB");
  CHECK(size_text(1024 * 1024 - 1) == "1.0 MiB");
  CHECK(size_text(1536ULL << 20) == "1.5 GiB");
  CHECK(size_text(UINT64_MAX) == "16.0 EiB");
}

TEST_SUITE_END();
