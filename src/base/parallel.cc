#include "ullage/base/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>

#include "base/threads.h"

namespace ullage {
namespace {

// More threads than any machine has: a typing error in ULLAGE_THREADS should not exhaust the process table.
constexpr int kMostThreads = 4096;

}  // namespace

int default_threads() {
  if (const char* text = std::getenv("ULLAGE_THREADS")) {
    int asked = 0;
    const char* const end = text + std::strlen(text);
    const auto [stop, error] = std::from_chars(text, end, asked);
    if (error == std::errc() && stop == end && asked > 0) return std::min(asked, kMostThreads);
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void parallel_for(std::size_t count, int threads,
                  const std::function<void(std::size_t, int)>& body) {
  if (threads <= 0) threads = default_threads();
  const auto workers =
      static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(threads), count));
  if (workers <= 1) {
    for (std::size_t i = 0; i < count; ++i) body(i, 0);
    return;
  }
  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto run = [&](int worker) {
    try {
      for (std::size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) body(i, worker);
    } catch (...) {
      next.store(count);
      const std::lock_guard lock(failure_mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  on_threads(workers, run);
  if (failure) std::rethrow_exception(failure);
}

void parallel_ranges(std::size_t count, std::size_t grain, int threads,
                     const std::function<void(std::size_t, std::size_t)>& body) {
  if (count == 0) return;
  grain = std::max<std::size_t>(grain, 1);
  if (threads <= 0) threads = default_threads();
  const std::size_t grains = count / grain + (count % grain != 0 ? 1 : 0);
  const std::size_t parts = std::min<std::size_t>(static_cast<std::size_t>(threads), grains);
  // `rest` of the parts are one grain longer than the others.
  const std::size_t each = grains / parts;
  const std::size_t rest = grains % parts;
  const auto start = [&](std::size_t part) { return (part * each + std::min(part, rest)) * grain; };
  parallel_for(parts, threads, [&](std::size_t part, int) {
    body(start(part), part + 1 == parts ? count : start(part + 1));
  });
}

}  // namespace ullage
