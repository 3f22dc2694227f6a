// SPDX-License-Identifier: MIT
#include "common/base/ids.h"

#include <fmt/format.h>
#include <sodium.h>

#include "common/base/check.h"

namespace capstan {

std::string Uuid::hex() const {
  std::string out(2 * bytes.size() + 1, '\0');
  sodium_bin2hex(out.data(), out.size(), bytes.data(), bytes.size());
  out.pop_back();  // sodium_bin2hex ends with NUL.
  return out;
}

Uuid Uuid::random() {
  CHECK(sodium_init() >= 0);
  Uuid id;
  randombytes_buf(id.bytes.data(), id.bytes.size());
  return id;
}

std::uint64_t random_number() {
  CHECK(sodium_init() >= 0);
  std::uint64_t number = 0;
  randombytes_buf(&number, sizeof number);
  return number;
}

std::string to_string(const AttemptKey& key) {
  return fmt::format("{}.{}.{}", key.job.value, key.task.value, key.attempt.value);
}

std::string task_name(JobId job, TaskIndex task) {
  return fmt::format("{}.{}", job.value, task.value);
}

}  // namespace capstan
