// parallel_for: every index once, exceptions home, nothing left behind, the same result on any thread count.
#include "ullage/base/parallel.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

namespace ullage {
namespace {

TEST(ParallelFor, CallsEveryIndexOnce) {
  for (const std::size_t count : {0U, 1U, 2U, 3U, 7U, 64U, 1000U}) {
    for (const int threads : {-1, 0, 1, 2, 3, 16}) {
      std::vector<std::atomic<int>> seen(count);
      parallel_for(count, threads, [&](std::size_t index, int) { ++seen[index]; });
      for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(seen[i], 1) << count << ' ' << threads;
    }
  }
}

TEST(ParallelFor, WorkersAreDistinctAndInRange) {
  std::mutex mutex;
  std::set<std::pair<int, std::thread::id>> pairs;
  parallel_for(500, 4, [&](std::size_t, int worker) {
    ASSERT_GE(worker, 0);
    ASSERT_LT(worker, 4);
    const std::lock_guard lock(mutex);
    pairs.emplace(worker, std::this_thread::get_id());
  });
  std::set<int> workers;
  for (const auto& [worker, thread] : pairs) EXPECT_TRUE(workers.insert(worker).second) << worker;
}

TEST(ParallelFor, NoMoreWorkersThanIndices) {
  std::atomic<int> highest{0};
  parallel_for(2, 50, [&](std::size_t, int worker) {
    if (worker > highest) highest = worker;
  });
  EXPECT_LT(highest, 2);
}

TEST(ParallelFor, OneThreadIsTheCaller) {
  parallel_for(10, 1, [&, caller = std::this_thread::get_id()](std::size_t, int) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
  });
}

TEST(ParallelFor, BringsAnExceptionHomeAndStops) {
  for (const int threads : {1, 2, 5}) {
    std::atomic<int> calls{0};
    const auto loop = [&] {
      parallel_for(1'000'000, threads, [&](std::size_t index, int) {
        ++calls;
        if (index == 3) throw std::runtime_error("the third");
      });
    };
    EXPECT_THROW(loop(), std::runtime_error);
    EXPECT_GE(calls, 1);
    EXPECT_LT(calls, 1'000'000) << "the loop went on after the exception";
  }
}

TEST(ParallelFor, WorksInsideItself) {
  std::atomic<int> sum{0};
  parallel_for(4, 2, [&](std::size_t i, int) {
    parallel_for(4, 2, [&](std::size_t j, int) { sum += static_cast<int>(4 * i + j); });
  });
  EXPECT_EQ(sum, 120);
}

TEST(ParallelFor, AChildOfForkCanUseItToo) {
  std::atomic<int> before{0};
  parallel_for(100, 3, [&](std::size_t, int) { ++before; });
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::atomic<int> calls{0};
    parallel_for(100, 3, [&](std::size_t, int) { ++calls; });
    _exit(calls == 100 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(ParallelRanges, CoverEverythingInGrains) {
  for (const std::size_t count : {0U, 1U, 5U, 16U, 17U, 100U, 1001U}) {
    for (const std::size_t grain : {0U, 1U, 4U, 16U, 2000U}) {
      for (const int threads : {1, 2, 3, 7}) {
        std::mutex mutex;
        std::set<std::pair<std::size_t, std::size_t>> parts;
        parallel_ranges(count, grain, threads, [&](std::size_t begin, std::size_t end) {
          const std::lock_guard lock(mutex);
          parts.emplace(begin, end);
        });
        std::size_t at = 0;
        for (const auto& [begin, end] : parts) {
          ASSERT_EQ(begin, at);
          ASSERT_LT(begin, end);
          if (grain > 0) {
            ASSERT_EQ(begin % grain, 0U);
          }
          at = end;
        }
        ASSERT_EQ(at, count);
        ASSERT_LE(parts.size(), static_cast<std::size_t>(threads));
      }
    }
  }
}

TEST(ParallelRanges, HugeCountsDoNotWrap) {
  constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max();
  std::mutex mutex;
  std::set<std::pair<std::size_t, std::size_t>> parts;
  parallel_ranges(kMost, kMost / 2, 3, [&](std::size_t begin, std::size_t end) {
    const std::lock_guard lock(mutex);
    parts.emplace(begin, end);
  });
  const std::set<std::pair<std::size_t, std::size_t>> want = {
      {0, kMost / 2}, {kMost / 2, kMost - 1}, {kMost - 1, kMost}};
  EXPECT_EQ(parts, want);
}

// What a caller does that must not depend on the thread count: fixed blocks, summed in order.
TEST(ParallelFor, FixedBlocksGiveTheSameBits) {
  const auto sum = [](int threads) {
    std::vector<double> blocks(37);
    parallel_for(blocks.size(), threads, [&](std::size_t block, int) {
      for (int i = 1; i < 1000; ++i) blocks[block] += 1.0 / (static_cast<double>(block) + i);
    });
    double total = 0.0;
    for (const double block : blocks) total += block;
    return total;
  };
  const double want = sum(1);
  for (const int threads : {2, 3, 8}) EXPECT_EQ(sum(threads), want);
}

class ThreadsVariable : public ::testing::Test {
 protected:
  void SetUp() override { unset_ = default_threads_without(); }
  void TearDown() override { unsetenv("ULLAGE_THREADS"); }
  static int default_threads_without() {
    unsetenv("ULLAGE_THREADS");
    return default_threads();
  }
  static int with(const char* text) {
    setenv("ULLAGE_THREADS", text, 1);
    return default_threads();
  }
  int unset_ = 0;
};

TEST_F(ThreadsVariable, IsTakenWhenItIsAPositiveNumber) {
  EXPECT_GE(unset_, 1);
  EXPECT_EQ(with("3"), 3);
  EXPECT_EQ(with("1"), 1);
  EXPECT_EQ(with("4096"), 4096);
}

TEST_F(ThreadsVariable, IsIgnoredOtherwise) {
  for (const char* text : {"", "0", "-2", "many", "3x", " 3", "1e3", "99999999999999999999"})
    EXPECT_EQ(with(text), unset_) << '"' << text << '"';
  EXPECT_EQ(with("5000"), 4096);
}

}  // namespace
}  // namespace ullage
