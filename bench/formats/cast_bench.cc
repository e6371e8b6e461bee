// How close do casts come to a copy that moves as many bytes? Arrays far larger than the caches, copy and cast by
// turns in every round, so that a busy machine slows both; median and quartiles of the ratios. Counts are on.
//
// One thread is timed by its own CPU clock, more by the wall's. The copy is memcpy of one large part a thread, which
// the C library makes with stores that go around the caches.
//
// usage: formats_cast_bench [--millions N] [--rounds N] [--threads N] [--json]
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "ullage/base/cpu.h"
#include "ullage/base/parallel.h"
#include "ullage/formats/blocks.h"
#include "ullage/formats/cast.h"

namespace {

using namespace ullage;
using namespace ullage::formats;

struct Options {
  std::size_t count = 64'000'000;  // elements
  int rounds = 15;
  int threads = 0;
  bool json = false;
};

Options read_options(int argc, char** argv) {
  Options options;
  options.threads = default_threads();
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--json") {
      options.json = true;
      continue;
    }
    const long value = i + 1 < argc ? std::strtol(argv[++i], nullptr, 10) : 0;
    if (value < 1 || (name != "--millions" && name != "--rounds" && name != "--threads")) {
      fmt::print(stderr,
                 "usage: formats_cast_bench [--millions N] [--rounds N] [--threads N] [--json]\n");
      std::exit(2);
    }
    if (name == "--millions") options.count = static_cast<std::size_t>(value) * 1'000'000;
    if (name == "--rounds") options.rounds = static_cast<int>(value);
    if (name == "--threads") options.threads = static_cast<int>(value);
  }
  // Whole tiles of 128 x 128, so that every kind of block can see the array as rows of 4096.
  options.count = (options.count + 128 * 4096 - 1) / (128 * 4096) * (128 * 4096);
  return options;
}

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
  std::size_t bytes;  // read and written in all
  std::function<bool()> work;
};

// Memory that every case shares: touched before anything is timed.
struct Memory {
  explicit Memory(std::size_t count)
      : values(count), codes(count * 2), scales(count / 16), from(count * 3), to(count * 3) {
    std::mt19937_64 engine(1);
    std::normal_distribution<float> normal;
    std::vector<float> sample(1 << 16);
    for (float& x : sample) x = normal(engine);
    for (std::size_t i = 0; i < count; ++i) values[i] = sample[i % sample.size()];
  }
  std::vector<float> values;
  std::vector<std::uint8_t> codes;
  std::vector<std::uint8_t> scales;
  std::vector<char> from;
  std::vector<char> to;
};

std::vector<Case> cases(Memory& memory, const Options& options) {
  std::vector<Case> all;
  const std::size_t count = options.count;
  for (const Rounding rounding :
       {Rounding::nearest_even, Rounding::stochastic, Rounding::toward_zero})
    for (const Format& format : {kE4M3, kE5M2, kBf16, kFp16, kE2M1}) {
      const CastOptions cast_options = {.overflow = Overflow::saturate,
                                        .rounding = rounding,
                                        .seed = 1,
                                        .threads = options.threads};
      all.push_back(
          {fmt::format("{} {}", format.name, name_of(rounding)),
           count * (sizeof(float) + format.bytes()), [&memory, cast_options, format] {
             const std::int64_t shape[] = {static_cast<std::int64_t>(memory.values.size())};
             const ArrayView view = {
                 .data = memory.values.data(), .format = kFp32, .shape = shape, .strides = {}};
             return cast(view, format, memory.codes.data(), cast_options).ok();
           }});
    }
  for (const BlockFormat& format : kBlockFormats)
    for (const ScaleRule rule : {ScaleRule::floor, ScaleRule::round_up}) {
      const bool mx = format.scale == BlockScale::e8m0;
      if (!mx && rule != ScaleRule::floor) continue;
      const BlockOptions block_options = {
          .cast = {.overflow = Overflow::saturate, .threads = options.threads}, .rule = rule};
      const auto elements_a_scale = static_cast<std::size_t>(format.rows * format.columns);
      const bool codes = format.scale != BlockScale::fp32;
      all.push_back(
          {mx ? fmt::format("{} {}", format.name, name_of(rule)) : format.name,
           count * 5 + (codes ? count / elements_a_scale : 0),
           [&memory, block_options, format, elements_a_scale, codes] {
             const std::int64_t shape[] = {static_cast<std::int64_t>(memory.values.size() / 4096),
                                           4096};
             const ArrayView view = {
                 .data = memory.values.data(), .format = kFp32, .shape = shape, .strides = {}};
             const std::size_t n = memory.values.size();
             return cast_blocks(view, format, std::span(memory.codes).first(n),
                                std::span(memory.scales).first(codes ? n / elements_a_scale : 0),
                                {}, block_options)
                 .ok();
           }});
    }
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = read_options(argc, argv);
  Memory memory(options.count);
  nlohmann::ordered_json report = {
      {"cpu", cpu_model()},         {"path", name_of(cpu_path())},
      {"threads", options.threads}, {"elements", options.count},
      {"rounds", options.rounds},   {"casts", nlohmann::ordered_json::array()}};
  if (!options.json)
    fmt::print(
        "{}, path {}, {} threads, {} million elements, counts on\n{:28} {:>9} {:>9} {:>22}\n",
        cpu_model(), name_of(cpu_path()), options.threads, options.count / 1000000, "fp32 to",
        "GB/s", "copy GB/s", "share of copy (quartiles)");
  for (const Case& entry : cases(memory, options)) {
    std::vector<double> ours, theirs, ratios;
    for (int round = 0; round <= options.rounds; ++round) {
      const double copy_time = seconds(options.threads, [&] {
        parallel_ranges(
            entry.bytes / 2, 4096, options.threads, [&](std::size_t begin, std::size_t end) {
              std::memcpy(memory.to.data() + begin, memory.from.data() + begin, end - begin);
            });
      });
      const double cast_time = seconds(options.threads, [&] {
        if (!entry.work()) std::abort();
      });
      if (round == 0) continue;  // warms up
      ours.push_back(cast_time);
      theirs.push_back(copy_time);
      ratios.push_back(copy_time / cast_time);
    }
    const double gigabytes = static_cast<double>(entry.bytes) * 1e-9;
    const double speed = gigabytes / quantile(ours, 0.5);
    const double copy_speed = gigabytes / quantile(theirs, 0.5);
    if (options.json)
      report["casts"].push_back({{"name", entry.name},
                                 {"gigabytes_per_second", speed},
                                 {"copy_gigabytes_per_second", copy_speed},
                                 {"share_of_copy", quantile(ratios, 0.5)},
                                 {"quartiles", {quantile(ratios, 0.25), quantile(ratios, 0.75)}}});
    else
      fmt::print("{:28} {:9.1f} {:9.1f} {:8.2f} ({:.2f}..{:.2f})\n", entry.name, speed, copy_speed,
                 quantile(ratios, 0.5), quantile(ratios, 0.25), quantile(ratios, 0.75));
  }
  if (options.json) fmt::print("{}\n", report.dump(1));
}
