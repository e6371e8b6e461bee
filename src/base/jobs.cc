// parallel_jobs: one lock over the loops that are open and the jobs that have begun. Steps and bodies are far longer than
// what it is held for.
#include <algorithm>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <set>

#include "base/threads.h"
#include "ullage/base/parallel.h"

namespace ullage {

class JobRun {
 public:
  JobRun(std::size_t count, int at_once, int threads, const std::function<void(Job&)>& body,
         const std::function<bool(std::size_t)>& done)
      : count_(count),
        at_once_(static_cast<std::size_t>(std::max(at_once, 1))),
        threads_(threads),
        body_(body),
        done_(done) {}

  [[nodiscard]] int threads() const { return threads_; }

  // What a thread does from beginning to end.
  void work(int worker) {
    std::unique_lock lock(mutex_);
    while (!over(worker)) {
      if (report(lock, worker) || begin(lock, worker) || help(lock, worker)) continue;
      changed_.wait(lock);
    }
  }

  void each(const Job& job, std::size_t count, const std::function<void(std::size_t, int)>& body) {
    std::unique_lock lock(mutex_);
    Loop loop{.count = count, .body = body};
    open_.emplace(job.index(), &loop);
    changed_.notify_all();
    while (loop.next < loop.count || loop.running > 0) {
      if (report(lock, job.worker()) || help(lock, job.worker())) continue;
      changed_.wait(lock);
    }
    open_.erase(job.index());
    if (loop.failure) std::rethrow_exception(loop.failure);
  }

  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  struct Loop {
    std::size_t count;
    const std::function<void(std::size_t, int)>& body;
    std::size_t next = 0;
    int running = 0;
    std::exception_ptr failure = nullptr;
  };

  [[nodiscard]] bool over(int worker) const {
    if (running_ > 0 || (!stopped_ && begun_ < count_)) return false;
    return worker != 0 || stopped_ || reported_ == count_;
  }

  void stop(std::exception_ptr failure) {
    stopped_ = true;
    if (!failure_) failure_ = std::move(failure);
    changed_.notify_all();
  }

  // The functions below do one thing with the lock released, if there is one to do.
  bool report(std::unique_lock<std::mutex>& lock, int worker) {
    if (worker != 0 || stopped_ || reported_ == ended_) return false;
    const std::size_t index = reported_++;
    if (!done_) return true;
    lock.unlock();
    bool more = false;
    std::exception_ptr failure;
    try {
      more = done_(index);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    if (!more) stop(std::move(failure));
    return true;
  }

  bool help(std::unique_lock<std::mutex>& lock, int worker) {
    const auto found = std::find_if(open_.begin(), open_.end(), [](const auto& entry) {
      return entry.second->next < entry.second->count;
    });
    if (found == open_.end()) return false;
    Loop& loop = *found->second;
    const std::size_t index = loop.next++;
    ++loop.running;
    lock.unlock();
    std::exception_ptr failure;
    try {
      loop.body(index, worker);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    if (failure) {
      loop.next = loop.count;
      if (!loop.failure) loop.failure = std::move(failure);
    }
    if (--loop.running == 0 && loop.next == loop.count) changed_.notify_all();
    return true;
  }

  bool begin(std::unique_lock<std::mutex>& lock, int worker) {
    if (stopped_ || begun_ == count_ || begun_ == ended_ + at_once_) return false;
    const std::size_t index = begun_++;
    ++running_;
    lock.unlock();
    std::exception_ptr failure;
    try {
      Job job(*this, index, worker);
      body_(job);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    --running_;
    if (failure) stop(std::move(failure));
    early_.insert(index);
    while (early_.erase(ended_) > 0) ++ended_;
    changed_.notify_all();
    return true;
  }

  const std::size_t count_, at_once_;
  const int threads_;
  const std::function<void(Job&)>& body_;
  const std::function<bool(std::size_t)>& done_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::size_t, Loop*> open_;  // by job: the earliest first
  std::size_t begun_ = 0, running_ = 0;
  std::size_t ended_ = 0;        // jobs of [0, ended_)
  std::set<std::size_t> early_;  // jobs that ended before one before them
  std::size_t reported_ = 0;
  bool stopped_ = false;
  std::exception_ptr failure_;
};

int Job::threads() const { return run_.threads(); }

void Job::each(std::size_t count, const std::function<void(std::size_t, int)>& body) {
  run_.each(*this, count, body);
}

void parallel_jobs(std::size_t count, int at_once, int threads,
                   const std::function<void(Job&)>& body,
                   const std::function<bool(std::size_t)>& done) {
  if (threads <= 0) threads = default_threads();
  JobRun run(count, at_once, threads, body, done);
  on_threads(threads, [&](int worker) { run.work(worker); });
  run.rethrow();
}

}  // namespace ullage
