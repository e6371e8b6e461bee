// parallel_for, and parallel_jobs for jobs that are made of such loops: the one way in which ullage uses threads.
#pragma once

#include <cstddef>
#include <functional>

namespace ullage {

// Threads to use when the caller said 0: ULLAGE_THREADS if set, else the CPUs this process may run on.
int default_threads();

// Calls body(index, worker) once for every index in [0, count), worker in [0, min(threads, count)).
//
// Threads take the next index as they come free; what an index computes must depend on the index
// alone, so a result never depends on the number of threads. `worker` is for scratch memory. Threads are made
// for the call and joined before it returns, so nothing survives into a fork. An exception of a
// body ends the loop and is thrown again here. threads <= 0 means default_threads().
void parallel_for(std::size_t count, int threads,
                  const std::function<void(std::size_t index, int worker)>& body);

// Calls body(begin, end) on consecutive parts of [0, count), one a thread, each a multiple of `grain` long
// but the last. Where the parts begin depends on `threads`: for work on single elements, not for sums over a
// part (sum fixed blocks with parallel_for, then the blocks in order). On the calling thread when there is one part.
void parallel_ranges(std::size_t count, std::size_t grain, int threads,
                     const std::function<void(std::size_t begin, std::size_t end)>& body);

class JobRun;

// One of the jobs of parallel_jobs, as its body sees it.
class Job {
 public:
  [[nodiscard]] std::size_t index() const { return index_; }
  // Of the thread that runs the body, for scratch memory: free whenever the body is not inside each().
  [[nodiscard]] int worker() const { return worker_; }
  [[nodiscard]] int threads() const;

  // parallel_for on the threads of the run, for the body of the job alone (not for bodies of loops). A thread that finds
  // nothing left of this loop works on other jobs meanwhile.
  void each(std::size_t count, const std::function<void(std::size_t index, int worker)>& body);

 private:
  friend class JobRun;
  Job(JobRun& run, std::size_t index, int worker) : run_(run), index_(index), worker_(worker) {}
  JobRun& run_;
  std::size_t index_;
  int worker_;
};

// Runs jobs that alternate steps on one thread with loops over each(), so that threads which would wait for a step, or for
// the end of a loop, have another job's loop to work on; loops of earlier jobs go first. Jobs begin in order, job i after
// all of [0, i - at_once] have ended, so i % at_once may number scratch memory of jobs. On one thread they run one after
// the other.
//
// done(i), unless it is empty, is called on the calling thread, in order, once job i and all before it have ended; when it
// says false no further job begins, nor is it called again. An exception ends the run like that and is thrown again here,
// once the jobs that had begun have ended. threads <= 0 means default_threads().
void parallel_jobs(std::size_t count, int at_once, int threads,
                   const std::function<void(Job& job)>& body,
                   const std::function<bool(std::size_t index)>& done = {});

}  // namespace ullage
