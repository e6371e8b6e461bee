// The arithmetic of the GPU's casts, run on the CPU: the same functions, turn by turn, against formats::cast, codes and
// counts and the bits of the error's sum.
#include "cuda/round_turn.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cuda/formats_under_test.h"
#include "ullage/formats/cast.h"
#include "ullage/formats/random.h"
#include "ullage/formats/scalar.h"

namespace ullage::cuda {
namespace {

using formats::CastCounts;
using formats::CastOptions;
using formats::Format;
using formats::kBlock;

struct Outcome {
  std::vector<std::uint8_t> codes;
  CastCounts counts;
};

// One block as the kernel's quads of threads make it.
template <Body kBody, bool kStochastic, int kBytes>
void cast_block(const float* values, std::size_t first, const Format& to,
                const CastOptions& options, bool as_values, void* codes, CastCounts& counts) {
  const CastParameters p = formats::cast_parameters(to, options);
  std::array<float, formats::kRow> sums = {};
  Tally tally;
  for (std::size_t run = 0; run < kBlock; run += 64)
    for (std::size_t q = 0; q < 4; ++q) {
      float x[kTurn];
      std::uint32_t random[kTurn];
      for (std::size_t i = 0; i < kTurn; ++i) {
        const std::size_t at = run + 16 * (i / 4) + 4 * q + i % 4;
        x[i] = values[at];
      }
      draw_turn(options.first_index + first + run + 4 * q, keys_of(options.seed), random);
      std::uint32_t words[4 * kBytes];
      float pairs[8];
      cast_turn<kBody, kStochastic, kBytes>(x, random, to, p, as_values, false, words, pairs,
                                            tally);
      for (std::size_t row = 0; row < 4; ++row)
        std::memcpy(static_cast<char*>(codes) + (run + 16 * row + 4 * q) * kBytes,
                    &words[row * kBytes], 4 * kBytes);
      for (std::size_t pair = 0; pair < 8; ++pair) sums[4 * q + pair % 4] += pairs[pair];
    }
  double error = 0;
  for (const float sum : sums) error += static_cast<double>(sum);
  counts.elements += kBlock;
  counts.nan += tally.nan;
  counts.saturated += tally.saturated;
  counts.flushed += tally.flushed;
  counts.amax = std::max(counts.amax, static_cast<double>(tally.largest));
  counts.error_sum += error;
  counts.error_count += kBlock - tally.nan - tally.saturated;
}

template <Body kBody, bool kStochastic>
void cast_block(const float* values, std::size_t first, const Format& to,
                const CastOptions& options, bool as_values, void* codes, CastCounts& counts) {
  if (as_values || to.bytes() == 4)
    cast_block<kBody, kStochastic, 4>(values, first, to, options, as_values, codes, counts);
  else if (to.bytes() == 2)
    cast_block<kBody, kStochastic, 2>(values, first, to, options, false, codes, counts);
  else if constexpr (kBody != Body::prefix)
    cast_block<kBody, kStochastic, 1>(values, first, to, options, false, codes, counts);
}

Outcome by_turns(const std::vector<float>& values, const Format& to, const CastOptions& options,
                 bool as_values) {
  Outcome outcome;
  const std::size_t bytes = as_values ? 4 : to.bytes();
  outcome.codes.resize(values.size() * bytes);
  for (std::size_t at = 0; at < values.size(); at += kBlock) {
    void* codes = outcome.codes.data() + at * bytes;
    const auto run = [&](auto cast) {
      cast(values.data() + at, at, to, options, as_values, codes, outcome.counts);
    };
    const bool stochastic = options.rounding == formats::Rounding::stochastic;
    if (formats::kernel_shape(to) == formats::KernelShape::prefix)
      run(stochastic ? cast_block<Body::prefix, true> : cast_block<Body::prefix, false>);
    else if (options.rounding == formats::Rounding::nearest_even)
      run(cast_block<Body::nearest, false>);
    else
      run(stochastic ? cast_block<Body::small, true> : cast_block<Body::small, false>);
  }
  return outcome;
}

Outcome on_the_cpu(const std::vector<float>& values, const Format& to, const CastOptions& options,
                   bool as_values) {
  Outcome outcome;
  outcome.codes.resize(values.size() * (as_values ? 4 : to.bytes()));
  const std::int64_t shape[] = {static_cast<std::int64_t>(values.size())};
  const formats::ArrayView view = {
      .data = values.data(), .format = formats::kFp32, .shape = shape, .strides = {}};
  const Result<CastCounts> counts =
      as_values ? formats::cast_to_values(view, to, reinterpret_cast<float*>(outcome.codes.data()),
                                          options)
                : formats::cast(view, to, outcome.codes.data(), options);
  EXPECT_TRUE(counts.ok());
  outcome.counts = *counts;
  return outcome;
}

// Whole blocks, of few enough elements that the CPU's sums of chunks are these.
void expect_same(std::vector<float> values, const Format& to, const CastOptions& options) {
  values.resize((values.size() + kBlock - 1) / kBlock * kBlock);
  SCOPED_TRACE(described(to, options));
  for (const bool as_values : {false, true}) {
    const Outcome found = by_turns(values, to, options, as_values);
    const Outcome expected = on_the_cpu(values, to, options, as_values);
    const std::size_t bytes = as_values ? 4 : to.bytes();
    ASSERT_TRUE(found.codes == expected.codes) << [&] {
      std::size_t at = 0;
      while (found.codes[at] == expected.codes[at]) ++at;
      return "as values " + std::to_string(as_values) + ", first at " + std::to_string(at / bytes) +
             ", input " + std::to_string(values[at / bytes]);
    }();
    expect_same_counts(found.counts, expected.counts);
  }
}

bool has_turns(const Format& format) {
  return formats::kernel_shape(format) != formats::KernelShape::scalar;
}

TEST(GpuRounding, HasTheBitsOfTheCpuOnHostileInputs) {
  for (const Format& to : formats_under_test()) {
    if (!has_turns(to)) continue;
    for (const CastOptions& options : options_under_test())
      expect_same(hostile_inputs(to, 3 * kBlock, 3), to, options);
  }
}

// Mostly numbers that fit, so that turns take the short way, and some that are zero.
TEST(GpuRounding, HasTheBitsOfTheCpuOnNumbersThatFit) {
  std::mt19937 engine(2);
  std::normal_distribution<float> normal;
  for (const Format& to : formats_under_test()) {
    if (!has_turns(to)) continue;
    for (const double scale : {0.02 * to.max_finite(), 40 * to.min_subnormal()}) {
      std::vector<float> values(4 * kBlock);
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = i % 61 == 7 ? 0.0F
                                : normal(engine) * static_cast<float>(std::min(scale, 1e37)) *
                                      (i % 4096 < 2048 ? 1.0F : 0.001F);
      for (const CastOptions& options : options_under_test()) expect_same(values, to, options);
    }
  }
}

// Every pattern of 16 bits, in FP32's upper half and as FP16.
TEST(GpuRounding, HasTheBitsOfTheCpuOnEveryPatternOf16Bits) {
  std::vector<float> values;
  for (std::uint32_t code = 0; code < 65536; ++code) {
    values.push_back(float_of(code << 16));
    values.push_back(static_cast<float>(formats::decode(formats::kFp16, code)));
  }
  // One block a call: the CPU adds up chunks of 32.
  for (const Format& to : {formats::kE4M3, formats::kE5M2, formats::kE4M3Fnuz, formats::kE2M1,
                           formats::kFp16, formats::kBf16})
    for (const CastOptions& options : options_under_test())
      for (std::size_t at = 0; at < values.size(); at += 8 * kBlock)
        expect_same({values.begin() + static_cast<std::ptrdiff_t>(at),
                     values.begin() + static_cast<std::ptrdiff_t>(at + 8 * kBlock)},
                    to, options);
}

TEST(GpuRounding, DrawsTheWordsOfTheGenerator) {
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{0xFEDCBA9876543210}})
    for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{1} << 40, ~std::uint64_t{63}})
      for (const std::uint64_t q : {0, 1, 2, 3}) {
        std::uint32_t random[kTurn];
        draw_turn(first + 4 * q, keys_of(seed), random);
        for (std::uint64_t i = 0; i < kTurn; ++i)
          EXPECT_EQ(random[i], formats::random_word(seed, first + 16 * (i / 4) + 4 * q + i % 4));
      }
}

TEST(GpuRounding, CutsSumsTowardsZeroAndRoundsThemUp) {
  const struct {
    float a, b, cut, up;
  } sums[] = {
      {1, 0x1.fffffep-25F, 1, 0x1.000002p0F},
      {0x1.fffffep0F, 0x1p-24F, 0x1.fffffep0F, 2},
      {0x1.fffffep0F, 0x1p-23F, 2, 2},
      {0.75F, 0x1p23F - 1, 0x1p23F - 0.5F, 0x1p23F},
      {1.75F, 0x1p23F, 0x1p23F + 1, 0x1p23F + 2},
      {0x1p-149F, 1, 1, 0x1.000002p0F},
      {-0x1p-149F, -1, -1, -1},
      {-1.75F, -0x1p23F, -0x1p23F - 1, -0x1p23F - 1},
      {-0x1.fffffep0F, -0x1p-24F, -0x1.fffffep0F, -0x1.fffffep0F},
      {0x1p-149F, -1, -0x1.fffffep-1F, -0x1.fffffep-1F},
      {-0x1p-149F, 1, 0x1.fffffep-1F, 1},
  };
  for (const auto& [a, b, cut, up] : sums) {
    EXPECT_EQ(add_toward_zero(a, 1, b), cut) << a << " " << b;
    EXPECT_EQ(add_upward(a, 1, b), up) << a << " " << b;
  }
}

}  // namespace
}  // namespace ullage::cuda
