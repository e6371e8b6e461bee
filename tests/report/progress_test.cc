// The progress bar's text, when it is drawn, and that it leaves nothing behind.
#include "ullage/report/progress.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "ullage/base/parallel.h"

namespace ullage::report {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

constexpr Terminal kShown{.interactive = true, .colour = false, .utf8 = false, .width = 80};

class Pipe {
 public:
  Pipe() {
    EXPECT_EQ(::pipe(ends_), 0);
    ::fcntl(ends_[0], F_SETFL, O_NONBLOCK);
  }
  ~Pipe() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  [[nodiscard]] int writer() const { return ends_[1]; }
  [[nodiscard]] std::string read() const {
    std::string text(1 << 16, '\0');
    const ssize_t got = ::read(ends_[0], text.data(), text.size());
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return text;
  }

 private:
  int ends_[2] = {-1, -1};
};

TEST(Progress, ALineHasBarCountTimeLeftAndRate) {
  const ProgressOptions items{.label = "scanning", .total = 32};
  EXPECT_EQ(progress_line(items, 8, 2, kShown),
            "scanning [========                        ]  8/32  6.00 s left  4.00/s");
  EXPECT_EQ(progress_line(items, 32, 8, kShown),
            "scanning [================================]  32/32  4.00/s");
  EXPECT_EQ(progress_line(items, 0, 1, kShown),
            "scanning [                                ]  0/32");
  const ProgressOptions bytes{.label = "reading", .total = 3 << 20, .unit = ProgressUnit::bytes};
  EXPECT_THAT(progress_line(bytes, 1 << 20, 1, kShown),
              EndsWith("1.00 MiB/3.00 MiB  2.00 s left  1.00 MiB/s"));
  EXPECT_EQ(progress_line({.label = "counting"}, 12, 4, kShown), "counting 12  3.00/s");
}

TEST(Progress, Utf8Line) {
  const Terminal utf8{.interactive = true, .utf8 = true, .width = 60};
  EXPECT_THAT(progress_line({.label = "x", .total = 2}, 1, 1, utf8), StartsWith("x \u2501"));
}

RC_GTEST_PROP(Progress, NeverFillsTheLastColumn,
              (const std::string& label, std::uint64_t total, std::uint64_t count)) {
  const Terminal terminal{.interactive = true,
                          .colour = false,
                          .utf8 = *rc::gen::arbitrary<bool>(),
                          .width = *rc::gen::inRange<std::size_t>(20, 200)};
  const auto unit = *rc::gen::element(ProgressUnit::items, ProgressUnit::bytes);
  const std::string line =
      progress_line({.label = label, .total = total, .unit = unit}, count, 1.5, terminal);
  RC_ASSERT(display_width(line) < terminal.width);
}

TEST(Progress, APipeStaysSilent) {
  const Pipe pipe;
  Progress progress({.label = "work", .total = 3, .descriptor = pipe.writer()});
  EXPECT_FALSE(progress.shown());
  std::this_thread::sleep_for(std::chrono::milliseconds(250));
  progress.tick();
  progress.finish();
  EXPECT_EQ(pipe.read(), "");
  EXPECT_EQ(progress.count(), 1u);
}

TEST(Progress, ShortWorkShowsNothing) {
  const Pipe pipe;
  {
    Progress progress(
        {.label = "work", .total = 3, .descriptor = pipe.writer(), .terminal = kShown});
    EXPECT_TRUE(progress.shown());
    progress.tick(3);
  }
  EXPECT_EQ(pipe.read(), "");
}

TEST(Progress, DrawsAndCleansItsLine) {
  const Pipe pipe;
  {
    Progress progress(
        {.label = "wo\nrk", .total = 4, .descriptor = pipe.writer(), .terminal = kShown});
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
    progress.tick();
    progress.tick();  // too soon after the first: not drawn
    const std::string drawn = pipe.read();
    EXPECT_THAT(drawn, StartsWith("\rwo\\u000ark ["));
    EXPECT_THAT(drawn, HasSubstr("1/4"));
    EXPECT_THAT(drawn, EndsWith("\x1b[K"));
  }
  EXPECT_EQ(pipe.read(), "\r\x1b[K");
  clear_progress_line();  // nothing is on the screen any more
  EXPECT_EQ(pipe.read(), "");
}

TEST(Progress, AnInterruptCanCleanTheLine) {
  const Pipe pipe;
  Progress progress({.label = "work", .descriptor = pipe.writer(), .terminal = kShown});
  std::this_thread::sleep_for(std::chrono::milliseconds(250));
  progress.tick();
  EXPECT_THAT(pipe.read(), HasSubstr("work 1"));
  clear_progress_line();
  EXPECT_EQ(pipe.read(), "\r\x1b[K");
}

TEST(Progress, CountsTicksOfAllThreads) {
  const Pipe pipe;
  Progress progress({.total = 10000, .descriptor = pipe.writer(), .terminal = kShown});
  parallel_for(10000, 4, [&](std::size_t, int) { progress.tick(); });
  EXPECT_EQ(progress.count(), 10000u);
}

}  // namespace
}  // namespace ullage::report
