// How close do casts come to a copy that moves as many bytes? The arrays are far larger than the caches and
// worked through in slices, copy and cast by turns, so that a busy machine slows both; one thread is
// timed by its own CPU clock. Median and quartiles over the rounds.
//
// usage: formats_cast_bench [millions of elements] [rounds] [threads]
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "ullage/base/cpu.h"
#include "ullage/base/parallel.h"
#include "ullage/formats/cast.h"

namespace {

using namespace ullage;
using namespace ullage::formats;

// Seconds on the clock that suits: this thread's own where it does all the work, else the wall's.
double seconds(int threads, const std::function<void()>& work) {
  const auto now = [threads] {
    timespec time = {};
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  };
  const double start = now();
  work();
  return now() - start;
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

struct Case {
  std::string name;
  std::size_t bytes;  // read and written, an element
  std::function<void(std::size_t begin, std::size_t count)> work;
};

// Copies bytes / 2, so that bytes are read and written in all, over as many threads.
void copy(const char* from, char* to, std::size_t bytes, int threads) {
  parallel_ranges(bytes / 2, 4096, threads, [&](std::size_t begin, std::size_t end) {
    std::memcpy(to + begin, from + begin, end - begin);
  });
}

constexpr std::size_t kSlice = std::size_t{16} << 20;

}  // namespace

int main(int argc, char** argv) {
  const std::size_t count = (argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 64) * 1000000;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 15;
  const int threads = argc > 3 ? std::atoi(argv[3]) : default_threads();
  std::vector<float> values(count);
  std::mt19937_64 engine(1);
  std::normal_distribution<float> normal;
  std::vector<float> sample(1 << 16);
  for (float& x : sample) x = normal(engine);
  for (std::size_t i = 0; i < count; ++i) values[i] = sample[i % sample.size()];
  std::vector<std::uint8_t> bytes(count);
  std::vector<std::uint16_t> words(count);
  std::vector<char> from(count * 3, 1);
  std::vector<char> to(count * 3, 2);

  std::vector<Case> cases;
  const std::span<const float> source(values);
  for (const Rounding rounding :
       {Rounding::nearest_even, Rounding::stochastic, Rounding::toward_zero}) {
    for (const Format& format : {kE4M3, kE5M2, kFp16, kBf16, kE2M1}) {
      const CastOptions options = {
          .overflow = Overflow::saturate, .rounding = rounding, .seed = 1, .threads = threads};
      const auto work = [&, options, format](std::size_t begin, std::size_t n) {
        const auto from_slice = source.subspan(begin, n);
        const bool ok =
            format.bytes() == 1
                ? cast(from_slice, format, std::span(bytes).subspan(begin, n), options).ok()
                : cast(from_slice, format, std::span(words).subspan(begin, n), options).ok();
        if (!ok) std::abort();
      };
      cases.push_back({fmt::format("fp32 -> {} {}", format.name, name_of(rounding)),
                       sizeof(float) + format.bytes(), work});
    }
  }
  fmt::print("{}, path {}, {} threads, {} million elements, counts on\n", cpu_model(),
             name_of(cpu_path()), threads, count / 1000000);
  fmt::print("{:36} {:>9} {:>9} {:>22}\n", "", "GB/s", "copy GB/s", "share of copy (quartiles)");
  for (const Case& entry : cases) {
    std::vector<double> ours, theirs, ratios;
    for (int round = 0; round <= rounds; ++round) {
      double cast_time = 0;
      double copy_time = 0;
      for (std::size_t begin = 0; begin < count; begin += kSlice) {
        const std::size_t n = std::min(kSlice, count - begin);
        copy_time += seconds(threads, [&] {
          copy(from.data() + begin * 3, to.data() + begin * 3, n * entry.bytes, threads);
        });
        cast_time += seconds(threads, [&] { entry.work(begin, n); });
      }
      if (round == 0) continue;  // warms up
      ours.push_back(cast_time);
      theirs.push_back(copy_time);
      ratios.push_back(copy_time / cast_time);
    }
    const double gigabytes = static_cast<double>(entry.bytes * count) * 1e-9;
    fmt::print("{:36} {:9.1f} {:9.1f} {:8.2f} ({:.2f}..{:.2f})\n", entry.name,
               gigabytes / quantile(ours, 0.5), gigabytes / quantile(theirs, 0.5),
               quantile(ratios, 0.5), quantile(ratios, 0.25), quantile(ratios, 0.75));
  }
}
