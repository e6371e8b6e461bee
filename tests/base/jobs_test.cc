// parallel_jobs: every job and index once, in the order and on the threads that are promised, exceptions home, and no
// thread that waits while another job has work.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "ullage/base/parallel.h"

namespace ullage {
namespace {

// Far more jobs than could run before a thread that waits for the CPU stops them.
constexpr std::size_t kMany = 1'000'000'000;

// What another thread waits for: a minute is for ever.
class Event {
 public:
  void set() {
    const std::lock_guard lock(mutex_);
    set_ = true;
    changed_.notify_all();
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::minutes(1), [&] { return set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

TEST(ParallelJobs, RunEveryIndexOfEveryLoopOnceInTheirWindow) {
  for (const std::size_t count : {0U, 1U, 2U, 9U}) {
    for (const int threads : {-1, 1, 2, 3, 16}) {
      for (const int at_once : {0, 1, 2, 5}) {
        const auto window = static_cast<std::size_t>(std::max(at_once, 1));
        std::vector<std::atomic<int>> seen(count * 60);
        std::vector<std::atomic<bool>> ended(count);
        parallel_jobs(count, at_once, threads, [&](Job& job) {
          for (std::size_t i = 0; i + window <= job.index(); ++i) EXPECT_TRUE(ended[i]);
          for (const std::size_t first : {0U, 20U, 40U}) {
            job.each(20, [&](std::size_t i, int) { ++seen[job.index() * 60 + first + i]; });
            // The loop has ended when each() returns.
            for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(seen[job.index() * 60 + first + i], 1);
          }
          job.each(0, [&](std::size_t, int) { ADD_FAILURE(); });
          ended[job.index()] = true;
        });
        for (const auto& times : seen) ASSERT_EQ(times, 1) << count << ' ' << threads;
      }
    }
  }
}

TEST(ParallelJobs, NoneBeginsBeforeTheOneWhoseMemoryItTakesHasEnded) {
  std::atomic<bool> third{false};
  parallel_jobs(3, 2, 3, [&](Job& job) {
    if (job.index() == 0) {
      std::this_thread::sleep_for(
          std::chrono::milliseconds(50));  // what began too early shows by then
      EXPECT_FALSE(third);
    } else if (job.index() == 2) {
      third = true;
    }
  });
  EXPECT_TRUE(third);
}

TEST(ParallelJobs, AWorkerDoesOneThingAtATime) {
  constexpr int kThreads = 4;
  std::vector<std::atomic<bool>> busy(kThreads);
  std::mutex mutex;
  std::set<std::pair<int, std::thread::id>> pairs;
  const auto use = [&](int worker) {
    ASSERT_GE(worker, 0);
    ASSERT_LT(worker, kThreads);
    EXPECT_FALSE(busy[static_cast<std::size_t>(worker)].exchange(true));
    {
      const std::lock_guard lock(mutex);
      pairs.emplace(worker, std::this_thread::get_id());
    }
    busy[static_cast<std::size_t>(worker)] = false;
  };
  parallel_jobs(20, 3, kThreads, [&](Job& job) {
    EXPECT_EQ(job.threads(), kThreads);
    use(job.worker());
    job.each(30, [&](std::size_t, int worker) { use(worker); });
    use(job.worker());
  });
  std::set<int> workers;
  for (const auto& [worker, thread] : pairs) EXPECT_TRUE(workers.insert(worker).second) << worker;
}

TEST(ParallelJobs, AThreadWorksOnAnotherJobWhileOneIsInAStep) {
  Event other;
  parallel_jobs(2, 2, 2, [&](Job& job) {
    if (job.index() == 0) {
      EXPECT_TRUE(other.wait());
    } else {
      job.each(1, [&](std::size_t, int) { other.set(); });
    }
  });
}

TEST(ParallelJobs, AThreadWorksOnAnotherJobWhileItsLoopEnds) {
  // Job 0's only index waits for all of job 1's, on the one thread that is left.
  Event other;
  std::atomic<int> rest{0};
  parallel_jobs(2, 2, 2, [&](Job& job) {
    if (job.index() == 0) {
      job.each(1, [&](std::size_t, int) { EXPECT_TRUE(other.wait()); });
    } else {
      job.each(10, [&](std::size_t, int) {
        if (++rest == 10) other.set();
      });
    }
  });
}

TEST(ParallelJobs, LoopsOfEarlierJobsGoFirst) {
  constexpr int kCount = 200;
  Event second_runs, first_runs;
  std::atomic<int> begun{0};
  parallel_jobs(2, 2, 2, [&](Job& job) {
    if (job.index() == 0) {
      EXPECT_TRUE(second_runs.wait());
      job.each(kCount, [&](std::size_t, int) {
        ++begun;
        first_runs.set();
      });
    } else {
      job.each(kCount, [&](std::size_t i, int) {
        if (i == 0) {
          second_runs.set();
          EXPECT_TRUE(first_runs.wait());
        } else {
          // The other thread may have taken the last index and not begun it.
          EXPECT_GE(begun, kCount - 1);
        }
      });
    }
  });
}

TEST(ParallelJobs, AreReportedInOrderOnTheCallingThread) {
  for (const int threads : {1, 2, 5}) {
    const auto caller = std::this_thread::get_id();
    std::vector<std::atomic<bool>> ended(30);
    std::vector<std::size_t> order;
    parallel_jobs(
        ended.size(), 3, threads,
        [&](Job& job) {
          job.each(job.index() % 3, [](std::size_t, int) {});
          if (threads == 1) {
            EXPECT_EQ(order.size(), job.index());
          }
          ended[job.index()] = true;
        },
        [&](std::size_t index) {
          EXPECT_EQ(std::this_thread::get_id(), caller);
          for (std::size_t i = 0; i <= index; ++i) EXPECT_TRUE(ended[i]);
          order.push_back(index);
          return true;
        });
    ASSERT_EQ(order.size(), ended.size());
    for (std::size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], i);
  }
}

TEST(ParallelJobs, NoneBeginsAfterAReportThatSaysStop) {
  for (const int threads : {1, 2, 5}) {
    std::atomic<std::size_t> jobs{0};
    int reports = 0;
    parallel_jobs(
        kMany, 2, threads, [&](Job&) { ++jobs; },
        [&](std::size_t index) {
          ++reports;
          return index < 3;
        });
    EXPECT_EQ(reports, 4);
    EXPECT_GE(jobs, 4U);
    EXPECT_LT(jobs, kMany);
  }
}

TEST(ParallelJobs, BringExceptionsHomeAndStop) {
  for (const int threads : {1, 2, 5}) {
    for (const int where : {0, 1, 2}) {  // a loop's body, a job's, a report
      std::atomic<std::size_t> bodies{0};
      int reports = 0;
      const auto run = [&] {
        parallel_jobs(
            kMany, 2, threads,
            [&](Job& job) {
              job.each(100, [&](std::size_t i, int) {
                if (job.index() == 3 && i == 5 && where == 0) throw std::runtime_error("the fifth");
                ++bodies;
              });
              if (job.index() == 3 && where == 1) throw std::runtime_error("the third");
            },
            [&](std::size_t index) {
              ++reports;
              if (index == 2 && where == 2) throw std::runtime_error("the second");
              return true;
            });
      };
      EXPECT_THROW(run(), std::runtime_error);
      EXPECT_GE(bodies, 5U);
      EXPECT_LT(bodies, kMany);
      EXPECT_LE(reports, 3);
    }
  }
}

TEST(ParallelJobs, AJobCanCatchWhatItsLoopThrew) {
  std::atomic<int> caught{0};
  parallel_jobs(5, 2, 3, [&](Job& job) {
    try {
      job.each(10, [](std::size_t i, int) {
        if (i == 4) throw std::runtime_error("the fourth");
      });
    } catch (const std::runtime_error&) {
      ++caught;
    }
  });
  EXPECT_EQ(caught, 5);
}

TEST(ParallelJobs, AChildOfForkCanRunThemToo) {
  const auto sum = [] {
    std::atomic<int> calls{0};
    parallel_jobs(4, 2, 3, [&](Job& job) { job.each(25, [&](std::size_t, int) { ++calls; }); });
    return calls.load();
  };
  EXPECT_EQ(sum(), 100);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(sum() == 100 ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace ullage
