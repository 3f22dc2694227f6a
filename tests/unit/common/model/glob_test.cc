// SPDX-License-Identifier: MIT
#include "common/model/glob.h"

#include <doctest/doctest.h>

#include <string>

using capstan::matches_glob;

TEST_SUITE("common/model/glob") {
  TEST_CASE("stars and question marks") {
    CHECK(matches_glob("render*", "render"));
    CHECK(matches_glob("render*", "render-7"));
    CHECK(matches_glob("*-7", "render-7"));
    CHECK(matches_glob("r*e*7", "render-7"));
    CHECK(matches_glob("render-?", "render-7"));
    CHECK(matches_glob("?", "ä"));
    CHECK(matches_glob("*ä?", "ääöü") == false);
    CHECK(matches_glob("*ö?", "ääöü"));
    CHECK(matches_glob("*", ""));
    CHECK(matches_glob("", ""));
    CHECK_FALSE(matches_glob("", "x"));
    CHECK_FALSE(matches_glob("render", "render-7"));
    CHECK_FALSE(matches_glob("render-?", "render-"));
    CHECK_FALSE(matches_glob("[a]", "a"));
  }
  TEST_CASE("a pattern that is made to take long does not") {
    std::string pattern;
    for (int i = 0; i < 60; ++i) pattern += "a*";
    CHECK_FALSE(matches_glob(pattern + "b", std::string(255, 'a')));
  }
}
