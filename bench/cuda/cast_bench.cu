// How close do casts on the GPU come to a copy in its memory that moves as many bytes, half read and half written? Cast
// and copy by turns, by the GPU's own clock, over arrays that the caches do not hold: small ones go round in a large
// one. One row of JSON a line; casts.py makes a report of them.
//
// usage: cuda_cast_bench [--log2 N] [--rounds N]
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "ullage/cuda/cast.h"
#include "ullage/cuda/device.h"

namespace {

using namespace ullage;
using formats::Format;
using formats::Rounding;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "cuda_cast_bench: %s\n", why.c_str());
  std::exit(1);
}
void need(const Status& status) {
  if (!status.ok()) give_up(status.error().message());
}
void need(cudaError_t error) {
  if (error != cudaSuccess) give_up(cudaGetErrorString(error));
}
cuda::DeviceMemory allocated(std::size_t bytes) {
  Result<cuda::DeviceMemory> memory = cuda::DeviceMemory::allocate(bytes);
  if (!memory.ok()) give_up(memory.error().message());
  return std::move(memory).value();
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

struct Case {
  std::optional<Format> from;
  Format to;
  Rounding rounding;
  bool counts = true;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Rounding rounding :
       {Rounding::nearest_even, Rounding::stochastic, Rounding::toward_zero})
    for (const Format& from : {formats::kFp32, formats::kBf16})
      for (const Format& to :
           {formats::kE4M3, formats::kE5M2, formats::kE2M1, formats::kFp16, formats::kBf16})
        if (from != to) all.push_back({from, to, rounding});
  all.push_back({formats::kFp32, formats::kE4M3, Rounding::nearest_even, false});
  all.push_back({formats::kBf16, formats::kE4M3, Rounding::nearest_even, false});
  all.push_back({formats::kFp16, formats::kE4M3, Rounding::nearest_even});
  all.push_back({formats::kFp32, formats::kTf32, Rounding::nearest_even});
  all.push_back({formats::kE4M3, formats::kBf16, Rounding::nearest_even});
  all.push_back({formats::kFp32, formats::kE8M0, Rounding::nearest_even});
  all.push_back({std::nullopt, formats::kE4M3, Rounding::nearest_even});
  return all;
}

class Bench {
 public:
  Bench(int log2, int rounds) : most_(std::size_t{1} << log2), rounds_(rounds) {
    source_ = allocated(most_ * sizeof(double));
    target_ = allocated(most_ * sizeof(double));
    scratch_ = allocated(cuda::cast_scratch_bytes(most_));
    counts_ = allocated(sizeof(formats::CastCounts));
    need(cudaEventCreate(&before_));
    need(cudaEventCreate(&between_));
    need(cudaEventCreate(&after_));
  }

  // Normally distributed numbers as the case's source: 2^22 of them, over and over.
  void fill(const std::optional<Format>& from) {
    const std::size_t count = std::min<std::size_t>(most_, std::size_t{1} << 22);
    std::mt19937 engine(1);
    std::normal_distribution<double> normal;
    std::vector<double> doubles(count);
    for (double& x : doubles) x = normal(engine);
    const std::int64_t shape[] = {static_cast<std::int64_t>(count)};
    std::vector<std::uint8_t> codes(count * sizeof(double));
    width_ = from ? from->bytes() : sizeof(double);
    if (from) {
      if (!formats::cast(
               {.data = doubles.data(), .format = std::nullopt, .shape = shape, .strides = {}},
               *from, codes.data(), {.overflow = formats::Overflow::saturate, .threads = 0})
               .ok())
        give_up("the numbers were not made");
    } else {
      std::memcpy(codes.data(), doubles.data(), codes.size());
    }
    for (std::size_t at = 0; at < most_; at += count)
      need(cuda::upload(codes.data(), count * width_, source_.data<char>() + at * width_, nullptr));
  }

  void measure(const Case& entry, std::size_t count) {
    const std::size_t read = count * width_;
    const std::size_t written = count * entry.to.bytes();
    // A copy of as many bytes in all; small arrays many times between two looks at the clock.
    const std::size_t copied = (read + written) / 2;
    const std::size_t places = most_ / count;
    const std::size_t repeats = std::min<std::size_t>(places, 32);
    std::vector<double> ours, theirs, ratios;
    std::size_t place = 0;
    for (int round = 0; round <= rounds_; ++round) {
      need(cudaEventRecord(before_));
      for (std::size_t i = 0; i < repeats; ++i) {
        const std::size_t at = (place + i) % places * count;
        need(cudaMemcpyAsync(target_.data<char>() + at * entry.to.bytes(),
                             source_.data<char>() + at * width_, copied, cudaMemcpyDeviceToDevice));
      }
      need(cudaEventRecord(between_));
      for (std::size_t i = 0; i < repeats; ++i) cast(entry, (place + i) % places * count, count);
      need(cudaEventRecord(after_));
      need(cudaEventSynchronize(after_));
      place = (place + repeats) % places;
      float copy_time = 0;
      float cast_time = 0;
      need(cudaEventElapsedTime(&copy_time, before_, between_));
      need(cudaEventElapsedTime(&cast_time, between_, after_));
      if (round == 0) continue;  // warms up
      theirs.push_back(copy_time * 1e-3 / static_cast<double>(repeats));
      ours.push_back(cast_time * 1e-3 / static_cast<double>(repeats));
      ratios.push_back(copy_time / cast_time);
    }
    const double gigabytes = static_cast<double>(read + written) * 1e-9;
    std::printf(
        "{\"from\": \"%s\", \"to\": \"%s\", \"rounding\": \"%s\", \"counts\": %s, \"elements\": "
        "%zu, "
        "\"microseconds\": %.2f, \"gigabytes_per_second\": %.1f, \"copy_gigabytes_per_second\": "
        "%.1f, \"share_of_copy\": %.4f, \"quartiles\": [%.4f, %.4f]}\n",
        entry.from ? entry.from->name : "fp64", entry.to.name, formats::name_of(entry.rounding),
        entry.counts ? "true" : "false", count, quantile(ours, 0.5) * 1e6,
        gigabytes / quantile(ours, 0.5), gigabytes / quantile(theirs, 0.5), quantile(ratios, 0.5),
        quantile(ratios, 0.25), quantile(ratios, 0.75));
    std::fflush(stdout);
  }

  std::size_t most() const { return most_; }

 private:
  void cast(const Case& entry, std::size_t at, std::size_t count) {
    const std::int64_t shape[] = {static_cast<std::int64_t>(count)};
    cuda::CountsOnDevice found;
    if (entry.counts)
      found = {.counts = counts_.data<formats::CastCounts>(), .scratch = scratch_.data()};
    need(
        cuda::cast({.data = source_.data<char>() + at * width_,
                    .format = entry.from,
                    .shape = shape,
                    .strides = {}},
                   entry.to, target_.data<char>() + at * entry.to.bytes(),
                   {.overflow = formats::Overflow::saturate, .rounding = entry.rounding, .seed = 1},
                   found, nullptr));
  }

  std::size_t most_;
  int rounds_;
  std::size_t width_ = 0;
  cuda::DeviceMemory source_, target_, scratch_, counts_;
  cudaEvent_t before_ = nullptr, between_ = nullptr, after_ = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
  int log2 = 28;
  int rounds = 15;
  for (int i = 1; i < argc; i += 2) {
    const long value = i + 1 < argc ? std::strtol(argv[i + 1], nullptr, 10) : 0;
    if (std::strcmp(argv[i], "--log2") == 0 && value >= 20 && value <= 32)
      log2 = static_cast<int>(value);
    else if (std::strcmp(argv[i], "--rounds") == 0 && value > 0)
      rounds = static_cast<int>(value);
    else
      give_up("usage: cuda_cast_bench [--log2 20..32] [--rounds N]");
  }
  need(cuda::usable());
  Bench bench(log2, rounds);
  std::vector<Case> all = cases();
  // Cases of one source together: it is made once.
  std::stable_sort(all.begin(), all.end(), [](const Case& a, const Case& b) {
    return std::string(a.from ? a.from->name : "") < std::string(b.from ? b.from->name : "");
  });
  std::string made = "none";
  for (const Case& entry : all) {
    if (const std::string name = entry.from ? entry.from->name : ""; name != made) {
      bench.fill(entry.from);
      made = name;
    }
    for (const std::size_t count : {bench.most(), std::size_t{1} << 20})
      bench.measure(entry, count);
  }
  return 0;
}
