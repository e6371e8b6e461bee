// Scales of tensors, rows and channels: published vectors of the rules, casts against one element at a time.
#include "ullage/formats/scaling.h"

#include <gtest/gtest.h>

#include <bit>
#include <cfloat>
#include <cmath>
#include <random>
#include <vector>

#include "formats/paths.h"
#include "ullage/formats/scalar.h"

namespace ullage::formats {
namespace {

constexpr CastOptions kSaturate = {.overflow = Overflow::saturate};

std::uint32_t pattern(float x) { return std::bit_cast<std::uint32_t>(x); }

// TransformerEngine 2.x, common/recipe/recipe_common.cuh, as its kernels compute.
TEST(CurrentScale, IsTransformerEngines) {
  const auto scale = [](float amax, CurrentScaling scaling = {}) {
    return current_scale(amax, kE4M3, scaling);
  };
  EXPECT_EQ(scale(3), 149.33333F);
  EXPECT_EQ(pattern(scale(3)), 0x43155555U);
  EXPECT_EQ(scale(3, {.power_of_two = true}), 128);
  EXPECT_EQ(scale(0.1F), 4480);
  EXPECT_EQ(scale(0.1F, {.power_of_two = true}), 4096);
  EXPECT_EQ(scale(1e-40F), FLT_MAX);
  EXPECT_EQ(scale(1e-40F, {.power_of_two = true}), 0x1p127F);
  EXPECT_EQ(scale(0), 1);
  EXPECT_EQ(scale(INFINITY), 1);
  EXPECT_EQ(scale(NAN), 1);
  EXPECT_EQ(scale(0, {.epsilon = 7}), 64);
}

// torchao float8_utils.py: max / max(amax in float64, 1e-12), rounded to float32.
TEST(CurrentScale, IsTorchaos) {
  const CurrentScaling torchao = {.style = CurrentScaling::Style::torchao};
  EXPECT_EQ(pattern(current_scale(0, kE4M3, torchao)), 0x57CBBA10U);
  EXPECT_EQ(current_scale(INFINITY, kE4M3, torchao), 0);
  EXPECT_TRUE(std::isnan(current_scale(NAN, kE4M3, torchao)));
  std::mt19937 engine(1);
  std::uniform_real_distribution<float> exponent(-39, 127);
  for (int i = 0; i < 100000; ++i) {
    const float amax = std::exp2(exponent(engine));
    ASSERT_EQ(current_scale(amax, kE4M3, torchao), current_scale(amax, kE4M3, {})) << amax;
  }
}

class Scaled : public OnEachPath {};
INSTANTIATE_TEST_SUITE_P(Path, Scaled, testing::ValuesIn(kCpuPaths), path_name);

TEST_P(Scaled, CastsUnderTheScaleOfEachTensorRowOrChannel) {
  constexpr std::size_t kRows = 37;
  constexpr std::size_t kColumns = 2500;
  std::vector<float> values(kRows * kColumns);
  std::mt19937 engine(2);
  std::normal_distribution<float> normal;
  for (float& x : values) x = normal(engine) * std::exp(2 * normal(engine));
  values[kColumns * 3] = 0.0F;
  values[kColumns * 4 + 1] = NAN;
  const std::int64_t shape[] = {kRows, kColumns};
  const ArrayView view = {.data = values.data(), .format = kFp32, .shape = shape, .strides = {}};
  for (const Granularity granularity :
       {Granularity::tensor, Granularity::row, Granularity::channel})
    for (const Rounding rounding : {Rounding::nearest_even, Rounding::up, Rounding::stochastic}) {
      CastOptions options = {.overflow = Overflow::saturate, .rounding = rounding, .seed = 5};
      std::vector<float> multipliers(*scale_count(view, granularity));
      std::vector<std::uint8_t> codes(values.size());
      const Result<CastCounts> counts =
          cast_scaled(view, kE4M3, granularity, {}, codes.data(), multipliers, options);
      ASSERT_TRUE(counts.ok());
      std::vector<float> largest(multipliers.size());
      const auto scale_of = [&](std::size_t i) {
        return granularity == Granularity::tensor ? 0
               : granularity == Granularity::row  ? i / kColumns
                                                  : i % kColumns;
      };
      for (std::size_t i = 0; i < values.size(); ++i) {
        float& most = largest[scale_of(i)];
        if (std::isnan(values[i]) || std::fabs(values[i]) > most) most = std::fabs(values[i]);
        if (std::isnan(values[i])) most = NAN;
      }
      double error = 0;
      for (std::size_t i = 0; i < multipliers.size(); ++i)
        ASSERT_EQ(multipliers[i], current_scale(largest[i], kE4M3, {})) << i;
      for (std::size_t i = 0; i < values.size(); ++i) {
        const float multiplier = multipliers[scale_of(i)];
        const double x = static_cast<double>(values[i] * multiplier);
        ASSERT_EQ(codes[i], encode(kE4M3, x, options, i)) << i;
        if (!std::isnan(x) && !overflows(kE4M3, x, options, i))
          error += (decode(kE4M3, codes[i]) - x) / static_cast<double>(multiplier);
      }
      EXPECT_EQ(counts->nan, 1U);
      EXPECT_NEAR(counts->error_sum, error, 1e-3 * (1 + std::fabs(error)));
      // Threads change nothing.
      std::vector<std::uint8_t> again(values.size());
      options.threads = 3;
      ASSERT_TRUE(
          cast_scaled(view, kE4M3, granularity, {}, again.data(), multipliers, options).ok());
      EXPECT_EQ(again, codes);
    }
}

// torchao's multipliers under NaN and infinity are NaN and zero: what they lose is counted apart, and no other.
TEST_P(Scaled, CountsWhatAScaleOfNanOrZeroLoses) {
  constexpr CurrentScaling kTorchao = {.style = CurrentScaling::Style::torchao};
  const std::int64_t shape[] = {2, 5};
  struct Expected {
    Granularity granularity;
    std::uint64_t saturated;
  };
  for (const Format& to : {kE4M3, kBf16, kE8M0})
    for (const float bad : {NAN, INFINITY}) {
      const std::vector<float> values = {1, 2, 3, 4, 5, 1, bad, 3, 4, 5};
      const ArrayView view = {
          .data = values.data(), .format = kFp32, .shape = shape, .strides = {}};
      const std::uint64_t nan = std::isnan(bad) ? 1 : 0;
      for (const auto& [granularity, lost] :
           {Expected{Granularity::tensor, 10}, {Granularity::row, 5}, {Granularity::channel, 2}}) {
        std::vector<float> multipliers(*scale_count(view, granularity));
        std::vector<std::uint32_t> codes(values.size());
        const Result<CastCounts> counts =
            cast_scaled(view, to, granularity, kTorchao, codes.data(), multipliers, kSaturate);
        ASSERT_TRUE(counts.ok());
        EXPECT_EQ(counts->elements, 10U);
        EXPECT_EQ(counts->nan, nan) << to.label() << ' ' << lost;
        EXPECT_EQ(counts->saturated, lost - nan) << to.label() << ' ' << lost;
        EXPECT_EQ(counts->error_count, 10 - lost) << to.label() << ' ' << lost;
        EXPECT_TRUE(std::isfinite(counts->error_sum)) << to.label() << ' ' << lost;
        EXPECT_EQ(counts->amax, nan == 1 ? 5 : INFINITY);
      }
    }
}

TEST(Scaled, RefusesAnotherNumberOfScales) {
  const std::vector<float> values(6);
  const std::int64_t shape[] = {2, 3};
  const ArrayView view = {.data = values.data(), .format = kFp32, .shape = shape, .strides = {}};
  std::vector<float> multipliers(3);
  std::vector<std::uint8_t> codes(6);
  EXPECT_EQ(cast_scaled(view, kE4M3, Granularity::row, {}, codes.data(), multipliers, kSaturate)
                .error()
                .code,
            Code::size_mismatch);
  EXPECT_EQ(*largest_magnitude(view, 1), 0);
}

}  // namespace
}  // namespace ullage::formats
