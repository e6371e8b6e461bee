// A progress bar on stderr: shown to a person at a terminal, never written into a pipe or a file.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "ullage/report/terminal.h"

namespace ullage::report {

enum class ProgressUnit : std::uint8_t { items, bytes };

struct ProgressOptions {
  std::string label = {};   // "reading"; untrusted text is fine
  std::uint64_t total = 0;  // 0: not known, so no bar and no time left
  ProgressUnit unit = ProgressUnit::items;
  int descriptor = 2;
  std::optional<Terminal> terminal = {};  // default: terminal_of(descriptor)
};

// The bar lives from construction to finish() or destruction, which leave its line empty. At most
// one at a time should be shown. tick() may be called from any thread; it draws at most ten times a
// second.
class Progress {
 public:
  explicit Progress(ProgressOptions options);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void tick(std::uint64_t by = 1) noexcept;
  void finish() noexcept;

  [[nodiscard]] bool shown() const { return shown_; }
  [[nodiscard]] std::uint64_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  using Clock = std::chrono::steady_clock;
  void draw(Clock::time_point now) noexcept;

  ProgressOptions options_;
  Terminal terminal_;
  bool shown_ = false;
  Clock::time_point start_;
  std::atomic<std::uint64_t> count_{0};
  std::atomic<std::int64_t> next_draw_{0};  // nanoseconds after start_
  std::mutex drawing_;
  bool finished_ = false;  // guarded by drawing_
};

// The text of one bar, at most `terminal.width` columns (80 where unknown):
// "reading [=====>    ] 12/32  4.1/s  5 s left".
std::string progress_line(const ProgressOptions& options, std::uint64_t count, double seconds,
                          const Terminal& terminal);

// Empties the line of a bar that is on the screen. Safe in a signal handler.
void clear_progress_line() noexcept;

}  // namespace ullage::report
