// SPDX-License-Identifier: MIT
#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "cli/output.h"
#include "cli/table.h"

namespace capstan::cli {
namespace {

using namespace std::chrono_literals;

constexpr Micros kRateWindow = 10s;
constexpr std::size_t kBarMin = 10;
constexpr std::size_t kBarMax = 40;

std::string bar(std::uint64_t done, std::uint64_t all, std::size_t width) {
  const auto filled =
      all == 0 ? width
               : static_cast<std::size_t>(static_cast<double>(width) * static_cast<double>(done) /
                                          static_cast<double>(all));
  return "[" + std::string(std::min(filled, width), '#') +
         std::string(width - std::min(filled, width), '-') + "]";
}

}  // namespace

std::string rate_text(double per_second) {
  if (per_second >= 10) return fmt::format("{:.0f}/s", per_second);
  if (per_second >= 1) return fmt::format("{:.1f}/s", per_second);
  return fmt::format("{:.1f}/min", per_second * 60);
}

void Rate::add(TimePoint at, std::uint64_t finished) {
  // A retry opens finished tasks again: what was measured before says nothing then.
  if (!samples_.empty() && finished < samples_.back().finished) samples_.clear();
  samples_.push_back({at, finished});
  while (samples_.size() > 2 && samples_[1].at <= at - kRateWindow) samples_.pop_front();
}

double Rate::per_second() const {
  if (samples_.size() < 2) return 0;
  const double seconds =
      static_cast<double>((samples_.back().at - samples_.front().at).count()) / 1e6;
  if (seconds <= 0) return 0;
  return static_cast<double>(samples_.back().finished - samples_.front().finished) / seconds;
}

std::string progress_text(const msg::JobView& job, double per_second, std::size_t columns) {
  const JobCounts& counts = job.counts;
  const std::uint64_t done = counts.finished();
  std::string tail = fmt::format("  {}/{}", done, job.tasks);
  const auto add = [&](std::uint64_t count, std::string_view word) {
    if (count != 0) tail += fmt::format("  {} {}", count, word);
  };
  add(counts.failed, "failed");
  add(counts.cancelled, "cancelled");
  add(counts.skipped, "skipped");
  add(counts.running, "running");
  add(counts.backoff, "in backoff");
  if (job.state == JobState::Paused) tail += "  paused";
  if (per_second > 0) {
    tail += "  " + rate_text(per_second);
    const double left = static_cast<double>(job.tasks - std::min(done, job.tasks)) / per_second;
    if (done < job.tasks && left < 1e9) {
      tail += "  " + span_text(Micros(static_cast<std::int64_t>(left * 1e6))) + " left";
    }
  }
  const std::string head = fmt::format("job {} ", job.id.value);
  const std::size_t taken = head.size() + tail.size() + 2;
  const std::size_t room = columns > taken ? columns - taken : 0;
  const std::string middle = room < kBarMin ? "" : bar(done, job.tasks, std::min(room, kBarMax));
  return shortened(head + middle + tail, columns);
}

void ProgressLine::show(const msg::JobView& job, TimePoint now) {
  if (!enabled_) return;
  if (job.id != job_) rate_ = Rate();
  job_ = job.id;
  rate_.add(now, job.counts.finished());
  visible_ = false;  // Drawn over, not cleared first: no flicker.
  // One column stays free: some terminals wrap at the last one.
  text_ = progress_text(job, rate_.per_second(), columns_ - std::min<std::size_t>(columns_, 1));
  redraw();
}

void ProgressLine::redraw() {
  if (!enabled_ || visible_ || text_.empty()) return;
  Output err(STDERR_FILENO);
  err.write("\r\x1b[K" + text_);
  static_cast<void>(err.flush());
  visible_ = true;
}

void ProgressLine::clear() {
  if (!visible_) return;
  Output err(STDERR_FILENO);
  err.write("\r\x1b[K");
  static_cast<void>(err.flush());
  visible_ = false;
}

}  // namespace capstan::cli
