#include "ullage/report/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include "ullage/report/numbers.h"

namespace ullage::report {
namespace {

constexpr std::string_view kClearLine = "\r\x1b[K";
// Work that is over sooner shows no bar at all; faster redraws only flicker.
constexpr std::int64_t kFirstDraw = 200'000'000;
constexpr std::int64_t kBetweenDraws = 100'000'000;
constexpr std::size_t kShortestBar = 8;
constexpr std::size_t kLongestBar = 32;

std::atomic<int> shown_on{-1};

// A bar that cannot be written is no reason to stop: errors are ignored.
void write_all(int descriptor, std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::string amount(std::uint64_t count, ProgressUnit unit) {
  return unit == ProgressUnit::bytes ? format_bytes(count) : format_count(count);
}

std::string bar(double share, std::size_t cells, const Terminal& terminal) {
  const auto full = static_cast<std::size_t>(std::floor(share * static_cast<double>(cells)));
  std::string done;
  std::string rest;
  for (std::size_t i = 0; i < full; ++i) done += terminal.utf8 ? "\u2501" : "=";
  for (std::size_t i = full; i < cells; ++i) rest += terminal.utf8 ? "\u2500" : " ";
  if (terminal.utf8) return done + paint(rest, Tone::dim, terminal);
  return '[' + done + rest + ']';
}

}  // namespace

std::string progress_line(const ProgressOptions& options, std::uint64_t count, double seconds,
                          const Terminal& terminal) {
  const std::size_t width =
      (terminal.width == 0 ? 80 : terminal.width) - 1;  // the last column may wrap
  std::string line = cut_to_width(terminal_text(options.label, terminal), width / 3, terminal.utf8);
  std::string numbers = amount(count, options.unit);
  if (options.total > 0) numbers += "/" + amount(options.total, options.unit);

  std::vector<std::string> extras;
  if (count > 0 && seconds > 0) {
    const double rate = static_cast<double>(count) / seconds;
    if (options.total > count)
      extras.push_back(format_duration(static_cast<double>(options.total - count) / rate) +
                       " left");
    extras.push_back(options.unit == ProgressUnit::bytes
                         ? format_bytes(static_cast<std::uint64_t>(rate)) + "/s"
                         : format_significant(rate, 3) + "/s");
  }
  for (const std::string& extra : extras) {
    if (display_width(line) + numbers.size() + extra.size() + 3 <= width) numbers += "  " + extra;
  }
  const std::size_t used = display_width(line) + numbers.size() + 5;  // blanks and brackets
  if (!line.empty()) line += ' ';
  if (options.total > 0 && used + kShortestBar <= width) {
    const double share =
        std::min(1.0, static_cast<double>(count) / static_cast<double>(options.total));
    return line + bar(share, std::min(kLongestBar, width - used), terminal) + "  " + numbers;
  }
  return cut_to_width(line + numbers, width, terminal.utf8);
}

Progress::Progress(ProgressOptions options)
    : options_(std::move(options)),
      terminal_(options_.terminal ? *options_.terminal : terminal_of(options_.descriptor)),
      shown_(terminal_.interactive),
      start_(Clock::now()),
      next_draw_(kFirstDraw) {}

Progress::~Progress() { finish(); }

void Progress::tick(std::uint64_t by) noexcept {
  count_.fetch_add(by, std::memory_order_relaxed);
  if (!shown_) return;
  const Clock::time_point now = Clock::now();
  if ((now - start_).count() >= next_draw_.load(std::memory_order_relaxed)) draw(now);
}

// A thread that finds another one drawing goes on with its work.
void Progress::draw(Clock::time_point now) noexcept {
  const std::unique_lock lock(drawing_, std::try_to_lock);
  if (!lock.owns_lock() || finished_) return;
  const std::int64_t elapsed = std::chrono::nanoseconds(now - start_).count();
  if (elapsed < next_draw_.load(std::memory_order_relaxed)) return;
  next_draw_.store(elapsed + kBetweenDraws, std::memory_order_relaxed);
  try {
    const std::string line =
        progress_line(options_, count(), static_cast<double>(elapsed) * 1e-9, terminal_);
    shown_on.store(options_.descriptor);
    write_all(options_.descriptor, '\r' + line + "\x1b[K");
  } catch (...) {
    finished_ = true;  // no memory for a line: the work matters more than its bar
  }
}

void Progress::finish() noexcept {
  const std::lock_guard lock(drawing_);
  finished_ = true;
  if (shown_on.exchange(-1) == options_.descriptor) write_all(options_.descriptor, kClearLine);
}

void clear_progress_line() noexcept {
  const int descriptor = shown_on.exchange(-1);
  if (descriptor >= 0) write_all(descriptor, kClearLine);
}

}  // namespace ullage::report
