// SPDX-License-Identifier: MIT
#include "cli/output_pump.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/print_error.h"

namespace capstan::cli {
namespace {

/// Reads under way together: enough to hide the round trip, few enough to be fair to others.
constexpr std::size_t kReadsInFlight = 8;

}  // namespace

bool is_selected(const std::vector<IndexRange>& ranges, TaskIndex index) {
  const auto contains = [&](const IndexRange& range) {
    return index.value >= range.first && index.value <= range.last &&
           (index.value - range.first) % range.step == 0;
  };
  return ranges.empty() || std::any_of(ranges.begin(), ranges.end(), contains);
}

OutputPump::Flow& OutputPump::flow_of(const FlowKey& key) {
  std::string prefix;
  if (options_.with_prefix) prefix = task_name(options_.job, key.task) + ": ";
  return flows_.try_emplace(key, std::move(prefix)).first->second;
}

void OutputPump::on_ended(const msg::TaskEnded& ended) {
  const msg::TaskView& view = ended.view;
  if (!is_selected(options_.only, view.task) || view.attempt.value == 0) return;
  auto [seen, is_new] = ended_.try_emplace(view.task.value, view.attempt.value);
  if (!is_new && view.attempt.value <= seen->second) return;  // Told again after a resumption.
  const AttemptNo told(is_new ? 0 : seen->second);
  seen->second = view.attempt.value;
  const bool has_earlier = !options_.last_only && ask_for_earlier(view.task, told, view.attempt);
  // Behind those before it: what the result carries would overtake them.
  const auto tail_of = [&](const Bytes& tail) {
    return has_earlier ? std::string_view() : std::string_view(tail);
  };
  end_stream({view.task, view.attempt, Stream::Stdout}, view.stdout_bytes,
             tail_of(ended.stdout_tail));
  end_stream({view.task, view.attempt, Stream::Stderr}, view.stderr_bytes,
             tail_of(ended.stderr_tail));
  flush();
}

bool OutputPump::ask_for_earlier(TaskIndex task, AttemptNo told, AttemptNo last) {
  bool has_asked = false;
  for (AttemptNo attempt = told.next(); attempt < last; attempt = attempt.next()) {
    for (const Stream stream : {Stream::Stdout, Stream::Stderr}) {
      const FlowKey key{task, attempt, stream};
      if (target(stream) == nullptr || closed_early_.erase(key) > 0) continue;
      // Not owed: of an attempt that was lost it may never come. What there is is read to its end.
      Flow& flow = flow_of(key);
      flow.upto = UINT64_MAX;
      ask(key, flow);
      has_asked = true;
    }
  }
  return has_asked;
}

void OutputPump::end_stream(const FlowKey& key, std::uint64_t total, std::string_view tail) {
  if (target(key.stream) == nullptr) return;
  if (closed_early_.erase(key) > 0) return;  // Printed whole before its end was told.
  if (total == 0 && flows_.count(key) == 0) return;
  Flow& flow = flow_of(key);
  flow.is_ended = true;
  ++owed_;
  const std::uint64_t missing = total - std::min(total, flow.printed);
  // A read under way would print the same bytes again: then it brings the rest as well.
  if (!flow.is_asking && missing <= tail.size()) {
    print(key, flow, tail.substr(tail.size() - static_cast<std::size_t>(missing)));
    return close(key);
  }
  flow.upto = std::max(flow.upto, total);
  ask(key, flow);
}

void OutputPump::on_grew(const msg::OutputGrew& grew) {
  const FlowKey key{grew.key.task, grew.key.attempt, grew.stream};
  if (target(key.stream) == nullptr || !is_selected(options_.only, key.task)) return;
  const auto ended = ended_.find(key.task.value);
  const bool is_over = ended != ended_.end() && key.attempt.value <= ended->second;
  const bool is_known = flows_.count(key) != 0;
  // Printed whole before; or "look again" at what nobody asked for.
  if (closed_early_.count(key) != 0 || (!is_known && (is_over || grew.upto == 0))) return;
  Flow& flow = flow_of(key);
  flow.upto = std::max(flow.upto, grew.upto);
  flow.has_news = true;
  if (flow.upto > flow.printed || flow.is_ended) ask(key, flow);
}

void OutputPump::on_running(const msg::TaskView& task) {
  if (task.attempt.value == 0) return;
  for (const Stream stream : {Stream::Stdout, Stream::Stderr}) {
    const FlowKey key{task.task, task.attempt, stream};
    if (target(stream) == nullptr || !is_selected(options_.only, task.task)) continue;
    const auto ended = ended_.find(task.task.value);
    if (ended != ended_.end() && task.attempt.value <= ended->second) continue;
    if (closed_early_.count(key) == 0) ask(key, flow_of(key));
  }
}

void OutputPump::on_caught_up() {
  for (auto& [key, flow] : flows_) {
    flow.has_news = true;
    ask(key, flow);
  }
}

void OutputPump::ask(const FlowKey& key, Flow& flow) {
  if (std::exchange(flow.is_asking, true)) return;
  queue_.push_back(key);
  start_reads();
}

bool OutputPump::is_behind(const FlowKey& key) const {
  for (auto it = flows_.lower_bound({key.task, AttemptNo(), Stream::Stdout}); it != flows_.end();
       ++it) {
    const auto& [other, flow] = *it;
    if (other.task != key.task || other.attempt >= key.attempt) return false;
    if (other.stream == key.stream && flow.is_asking) return true;
  }
  return false;
}

void OutputPump::start_reads() {
  while (in_flight_ < kReadsInFlight) {
    const auto next = std::find_if(queue_.begin(), queue_.end(),
                                   [this](const FlowKey& key) { return !is_behind(key); });
    if (next == queue_.end()) return;
    const FlowKey key = *next;
    queue_.erase(next);
    Flow& flow = flows_.at(key);
    flow.has_news = false;
    ++in_flight_;
    msg::ReadLog read;
    read.job = options_.job;
    read.task = key.task;
    read.attempt = key.attempt;
    read.stream = key.stream;
    read.offset = flow.printed;
    client_.query(std::move(read), [this, key](Result<msg::Body> reply) { on_data(key, reply); });
  }
}

void OutputPump::on_data(const FlowKey& key, const Result<msg::Body>& reply) {
  --in_flight_;
  Flow& flow = flows_.at(key);
  flow.is_asking = false;
  const auto* data = reply ? std::get_if<msg::LogData>(&*reply) : nullptr;
  if (data == nullptr) {
    // Its output is gone (a lost worker's disk, a purge): what is left is nothing.
    if (!reply && reply.error().code != Errc::NotFound && !failure_) {
      failure_ = Failure{exit_code_of(reply.error().code), reply.error().message};
    }
    close(key);
  } else {
    if (data->offset > flow.printed && !data->data.empty()) {
      flow.dropped += data->offset - flow.printed;
      ++flow.holes;
      flow.printed = data->offset;
    }
    print(key, flow, data->data);
    if (data->end) {
      if (!flow.is_ended) closed_early_.insert(key);
      close(key);
    } else if (flow.has_news ||
               (!data->data.empty() && (flow.is_ended || flow.upto > flow.printed))) {
      ask(key, flow);
    }
  }
  flush();
  start_reads();
}

void OutputPump::print(const FlowKey& key, Flow& flow, std::string_view bytes) {
  flow.printed += bytes.size();
  write(key.stream, flow.lines.add(bytes));
}

void OutputPump::close(const FlowKey& key) {
  const auto found = flows_.find(key);
  write(key.stream, found->second.lines.finish());
  tell_dropped(key, found->second);
  if (found->second.is_ended) --owed_;
  flows_.erase(found);
}

void OutputPump::finish() {
  for (auto& [key, flow] : flows_) {
    write(key.stream, flow.lines.finish());
    tell_dropped(key, flow);
  }
  flush();
}

/// Once for each stream: one that is faster than it is read has a hole in each piece.
void OutputPump::tell_dropped(const FlowKey& key, const Flow& flow) {
  if (flow.dropped == 0) return;
  if (options_.before_print) options_.before_print();
  flush();
  print_error("capstan: {}: {} bytes of its {} were dropped{}\n", task_name(options_.job, key.task),
              flow.dropped, key.stream == Stream::Stdout ? "stdout" : "stderr",
              flow.holes == 1 ? "" : fmt::format(" in {} places", flow.holes));
}

void OutputPump::write(Stream stream, const std::string& text) {
  if (text.empty()) return;
  if (options_.before_print) options_.before_print();
  target(stream)->write(text);
}

void OutputPump::flush() {
  for (Output* output : {options_.out, options_.err}) {
    if (output == nullptr) continue;
    const auto flushed = output->flush();
    if (flushed) continue;
    is_broken_ = true;
    if (!failure_) failure_ = flushed.error();
  }
  if (options_.after_print) options_.after_print();
}

}  // namespace capstan::cli
