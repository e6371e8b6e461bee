// The one place where threads are made.
#pragma once

#include <system_error>
#include <thread>
#include <vector>

namespace ullage {

// run(worker), which throws nothing, on up to `workers` threads at once: 0 is the caller, and the others are joined before
// this returns.
template <class Run>
void on_threads(int workers, const Run& run) {
  std::vector<std::jthread> pool;
  pool.reserve(static_cast<std::size_t>(workers - 1));
  for (int worker = 1; worker < workers; ++worker) {
    try {
      pool.emplace_back(run, worker);
    } catch (const std::system_error&) {
      break;  // no more threads to be had: the ones that run do all the work
    }
  }
  run(0);
}

}  // namespace ullage
