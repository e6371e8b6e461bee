// BF16 by pairs, run on the CPU: every pattern there is, against formats::cast and against the exact error.
#include "cuda/round_bf16.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include "cuda/formats_under_test.h"
#include "ullage/formats/cast.h"
#include "ullage/formats/scalar.h"

namespace ullage::cuda {
namespace {

using formats::CastCounts;
using formats::CastOptions;
using formats::Format;
using formats::kBlock;
using formats::Overflow;
using formats::Rounding;

std::vector<Format> formats_with_pairs() {
  std::vector<Format> all;
  for (const Format& to : formats_under_test())
    if (has_pairs(to)) all.push_back(to);
  EXPECT_GE(all.size(), 8U);
  return all;
}

// One block as the kernel's quads of threads make it.
template <bool kNearest, bool kStochastic>
CastCounts cast_block(const std::uint16_t* source, const Format& to, const CastOptions& options,
                      std::uint8_t* codes) {
  const CastParameters p = formats::cast_parameters(to, options);
  const PairParameters pp = pair_parameters(p);
  std::array<float, formats::kRow> sums = {};
  Tally tally;
  for (std::size_t run = 0; run < kBlock; run += 64)
    for (std::size_t q = 0; q < 4; ++q) {
      std::uint32_t x[kTurn / 2];
      for (std::size_t row = 0; row < 4; ++row)
        std::memcpy(&x[2 * row], source + run + 16 * row + 4 * q, 8);
      std::uint32_t words[4];
      float pairs[8];
      std::uint32_t random[kTurn];
      draw_turn(options.first_index + run + 4 * q, keys_of(options.seed), random);
      cast_turn_of_pairs<kNearest, kStochastic>(x, random, to, p, pp, words, pairs, tally);
      for (std::size_t row = 0; row < 4; ++row)
        std::memcpy(codes + run + 16 * row + 4 * q, &words[row], 4);
      for (std::size_t pair = 0; pair < 8; ++pair) sums[4 * q + pair % 4] += pairs[pair];
    }
  CastCounts counts = {.elements = kBlock,
                       .nan = tally.nan,
                       .saturated = tally.saturated,
                       .flushed = tally.flushed,
                       .amax = static_cast<double>(tally.largest)};
  for (const float sum : sums) counts.error_sum += static_cast<double>(sum);
  counts.error_count = kBlock - tally.nan - tally.saturated;
  return counts;
}

void expect_as_formats_cast(const std::vector<std::uint16_t>& source, const Format& to,
                            const CastOptions& options) {
  SCOPED_TRACE(described(to, options));
  const std::int64_t shape[] = {kBlock};
  std::vector<std::uint8_t> found(kBlock);
  std::vector<std::uint8_t> expected(kBlock);
  for (std::size_t at = 0; at + kBlock <= source.size(); at += kBlock) {
    const auto block = options.rounding == Rounding::nearest_even ? cast_block<true, false>
                       : options.rounding == Rounding::stochastic ? cast_block<false, true>
                                                                  : cast_block<false, false>;
    const CastCounts counts = block(&source[at], to, options, found.data());
    const Result<CastCounts> theirs = formats::cast(
        {.data = &source[at], .format = formats::kBf16, .shape = shape, .strides = {}}, to,
        expected.data(), options);
    ASSERT_TRUE(theirs.ok());
    ASSERT_EQ(found, expected) << "of the block at " << at;
    expect_same_counts(counts, *theirs);
  }
}

// All patterns, in their order (so that those that overflow lie together), and scattered, where every turn has some that
// overflow; and only those that fit, scattered.
TEST(GpuRoundingOfPairs, HasTheBitsOfTheCpuOnEveryPattern) {
  for (const Format& to : formats_with_pairs())
    for (const CastOptions& options : options_under_test(64)) {
      std::vector<std::uint16_t> ordered, scattered, fitting;
      for (std::uint32_t i = 0; i < 65536; ++i) {
        ordered.push_back(static_cast<std::uint16_t>(i));
        scattered.push_back(static_cast<std::uint16_t>(i * 40503));
        if (std::fabs(float_of(std::uint32_t{scattered.back()} << 16)) <= to.max_finite())
          fitting.push_back(scattered.back());
      }
      for (const auto& source : {ordered, scattered, fitting})
        expect_as_formats_cast(source, to, options);
    }
}

// The errors one by one, in either half; and no zero's sign of theirs is looked at.
TEST(GpuRoundingOfPairs, ErrorsAreExact) {
  for (const Format& to : formats_with_pairs()) {
    const CastOptions options = {.overflow = Overflow::saturate};
    const CastParameters p = formats::cast_parameters(to, options);
    const PairParameters pp = pair_parameters(p);
    for (std::uint32_t pattern = 0; pattern < 65536; ++pattern) {
      if ((pattern & 0x7FFF) > pp.safe) continue;
      const double x = low_of(pattern);
      const double error = formats::round_to(to, x, options) - x;
      std::uint32_t sum = 0;
      std::uint32_t errors = 0;
      round_pair(pattern | (pattern ^ 0x8000) << 16, pp, sum, errors);
      ASSERT_EQ(static_cast<double>(low_of(errors)), error) << to.label() << " " << x;
      ASSERT_EQ(static_cast<double>(high_of(errors)), -error) << to.label() << " " << x;
    }
  }
}

}  // namespace
}  // namespace ullage::cuda
