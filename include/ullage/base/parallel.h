// parallel_for: the one way in which ullage uses threads.
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

}  // namespace ullage
