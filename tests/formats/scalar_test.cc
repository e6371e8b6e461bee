// Laws of scalar casts that the golden vectors do not hold: FP64 sources, every rounding,
// stochastic bits.
#include "ullage/formats/scalar.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "ullage/formats/cast.h"

namespace ullage::formats {
namespace {

constexpr CastOptions kSaturate = {.overflow = Overflow::saturate};
constexpr CastOptions kNonSaturating = {.overflow = Overflow::non_saturating};

static_assert(encode(kE4M3, 464.0, kNonSaturating) == 0x7E);
static_assert(encode(kE4M3, 464.0001, kNonSaturating) == 0x7F);
static_assert(round_to(kBf16, 1.0 + 0x1p-9, kSaturate) == 1.0);

// All finite values of a format in ascending order, with their codes (-0 left out).
std::vector<double> values_of(const Format& format) {
  std::vector<double> values;
  for (std::uint32_t code = 0; code < format.code_count(); ++code) {
    const double value = decode(format, code);
    if (std::isfinite(value) && !(value == 0 && std::signbit(value))) values.push_back(value);
  }
  std::sort(values.begin(), values.end());
  return values;
}

// A finite double within the range of the format, often on or beside a value or a midpoint.
double draw(const std::vector<double>& values) {
  const auto i = *rc::gen::inRange<std::size_t>(0, values.size() - 1);
  const int kind = *rc::gen::inRange(0, 4);
  const double low = values[i];
  const double high = values[i + 1];
  const double middle = low + (high - low) / 2;
  if (kind == 0) return low;
  if (kind == 1) return middle;
  if (kind == 2) return std::nextafter(middle, *rc::gen::element(low, high));
  return low + (high - low) * (*rc::gen::inRange(0, 1 << 30) * 0x1p-30);
}

// The same question put to the sorted list of values: no arithmetic on bits.
double by_search(const std::vector<double>& values, double x, Rounding rounding,
                 const std::function<bool(double)>& even) {
  const auto above = std::lower_bound(values.begin(), values.end(), x);
  if (*above == x) return x;
  const double high = *above;
  const double low = *(above - 1);
  switch (rounding) {
    case Rounding::up:
      return high;
    case Rounding::down:
      return low;
    case Rounding::toward_zero:
      return x > 0 ? low : high;
    default:
      break;
  }
  // Neighbours have a few bits only, so the middle and both distances' order are exact in FP64.
  const double middle = low + (high - low) / 2;
  if (x != middle) return x < middle ? low : high;
  if (rounding == Rounding::nearest_away) return x > 0 ? high : low;
  return even(low) ? low : high;
}

const Format kSmall[] = {kE4M3, kE4M3Fnuz, kE5M2, kE5M2Fnuz, kE2M1, kE2M3, kE3M2, kFp16, kBf16};

RC_GTEST_PROP(Scalar, RoundsFp64AsASearchThroughAllValuesDoes, ()) {
  static const std::vector<std::vector<double>> all = [] {
    std::vector<std::vector<double>> lists;
    for (const Format& format : kSmall) lists.push_back(values_of(format));
    return lists;
  }();
  const auto which = *rc::gen::inRange<std::size_t>(0, std::size(kSmall));
  const Format& format = kSmall[which];
  const double x = draw(all[which]);
  const auto even = [&](double value) { return (encode(format, value, kSaturate) & 1) == 0; };
  for (const Rounding rounding : kRoundings) {
    if (rounding == Rounding::stochastic) continue;
    const CastOptions options = {.overflow = Overflow::saturate, .rounding = rounding};
    RC_ASSERT(round_to(format, x, options) == by_search(all[which], x, rounding, even));
    RC_ASSERT(decode(format, encode(format, x, options)) == round_to(format, x, options));
  }
}

TEST(Scalar, EveryFiniteCodeSurvivesTheRoundTrip) {
  for (const Format& format : kFormats) {
    if (format.bits() > 19) continue;
    for (std::uint32_t code = 0; code < format.code_count(); ++code) {
      const double value = decode(format, code);
      for (const Rounding rounding : kRoundings) {
        const CastOptions options = {.overflow = Overflow::non_saturating, .rounding = rounding};
        const std::uint32_t back = encode(format, value, options);
        if (std::isnan(value))
          ASSERT_TRUE(format.is_nan(back)) << format.label() << " code " << code;
        else
          ASSERT_EQ(back, code) << format.label();
      }
    }
  }
}

TEST(Scalar, Fp64SourcesAreRoundedOnce) {
  // 1 + 2^-4 (half a step of E4M3) + 2^-40: FP32 would drop the last term and make it a tie.
  EXPECT_EQ(round_to(kE4M3, 1.0 + 0x1p-4, kSaturate), 1.0);
  EXPECT_EQ(round_to(kE4M3, 1.0 + 0x1p-4 + 0x1p-40, kSaturate), 1.125);
  EXPECT_EQ(round_to(kBf16, 0x1p-134 + 0x1p-180, kSaturate), 0x1p-133);
  EXPECT_EQ(round_to(kFp32, 0x1p-150 * (1 + 0x1p-50), kSaturate), 0x1p-149);
  EXPECT_EQ(round_to(kFp16, 5e-324, {.overflow = Overflow::saturate, .rounding = Rounding::up}),
            0x1p-24);
}

TEST(Scalar, OverflowFollowsTheNamedConvention) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(encode(kE4M3, 1e9, kSaturate), 0x7EU);
  EXPECT_EQ(encode(kE4M3, -1e9, kNonSaturating), 0xFFU);
  EXPECT_EQ(encode(kE5M2, -infinity, kNonSaturating), 0xFCU);
  EXPECT_EQ(encode(kE5M2, -infinity, kSaturate), 0xFBU);
  EXPECT_EQ(encode(kE4M3Fnuz, -1e9, kNonSaturating), 0x80U);
  EXPECT_EQ(encode(kE2M1, -infinity, kNonSaturating), 0xFU);
  const CastOptions inward = {.overflow = Overflow::non_saturating,
                              .rounding = Rounding::toward_zero};
  EXPECT_EQ(encode(kE5M2, 1e9, inward), 0x7BU);
  EXPECT_EQ(encode(kE5M2, infinity, inward), 0x7CU);
  const CastOptions up = {.overflow = Overflow::non_saturating, .rounding = Rounding::up};
  EXPECT_EQ(encode(kE5M2, 57345.0, up), 0x7CU);
  EXPECT_EQ(encode(kE5M2, -1e9, up), 0xFBU);
}

TEST(Scalar, ZerosAndNanKeepWhatTheFormatCanHold) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(encode(kE4M3, -0.0, kSaturate), 0x80U);
  EXPECT_EQ(encode(kE4M3Fnuz, -0.0, kSaturate), 0x00U);
  EXPECT_EQ(encode(kE4M3Fnuz, -1e-9, kSaturate), 0x00U);
  EXPECT_FALSE(std::signbit(round_to(kE4M3Fnuz, -1e-9, kSaturate)));
  EXPECT_TRUE(std::signbit(round_to(kE4M3, -1e-9, kSaturate)));
  EXPECT_EQ(encode(kE4M3, std::copysign(nan, -1.0), kSaturate), 0xFFU);
  EXPECT_EQ(encode(kE5M2Fnuz, nan, kSaturate), 0x80U);
  EXPECT_EQ(encode(kE2M1, nan, kSaturate), 0x7U);
  EXPECT_EQ(encode(kE8M0, 0.0, kNonSaturating), 0xFFU);
  EXPECT_EQ(encode(kE8M0, 0.0, kSaturate), 0x00U);
}

TEST(Scalar, FormatsWithoutSubnormalsFlush) {
  const Format flushing = {.name = "bf16-ftz",
                           .exponent_bits = 8,
                           .mantissa_bits = 7,
                           .bias = 127,
                           .has_subnormals = false};
  EXPECT_EQ(round_to(flushing, 0x1p-126, kSaturate), 0x1p-126);
  EXPECT_EQ(round_to(flushing, 0x1.8p-127, kSaturate), 0x1p-126);
  EXPECT_EQ(round_to(flushing, 0x1p-127, kSaturate), 0.0);
  EXPECT_EQ(decode(flushing, 0x0001), 0.0);
  EXPECT_EQ(flushing.min_subnormal(), 0x1p-126);
}

TEST(Philox, GivesThePublishedWords) {
  // Known answers distributed with Random123 for 7 and 10 rounds, counter and key all zero or all
  // ones.
  const PhiloxBlock ones = {0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF};
  EXPECT_EQ(philox({0, 0, 0, 0}, 0, 7),
            (PhiloxBlock{0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48}));
  EXPECT_EQ(philox({0, 0, 0, 0}, 0, 10),
            (PhiloxBlock{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8}));
  EXPECT_EQ(philox(ones, 0xFFFFFFFFFFFFFFFF, 10),
            (PhiloxBlock{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}));
}

TEST(Stochastic, IsUnbiasedWithTheVarianceOfACoin) {
  constexpr int kDraws = 200000;
  for (const double fraction : {0.0625, 0.25, 0.5, 0.8, 1 - 0x1p-12}) {
    for (const double low : {1.0, -24.0, 0x1p-9 * 3}) {
      const double high = std::fabs(low) + (std::fabs(low) == 24.0 ? 2 : low == 1 ? 0.125 : 0x1p-9);
      const double magnitude = std::fabs(low) + fraction * (high - std::fabs(low));
      const double x = std::copysign(magnitude, low);
      double ups = 0;
      for (int i = 0; i < kDraws; ++i) {
        const CastOptions options = {
            .overflow = Overflow::saturate, .rounding = Rounding::stochastic, .seed = 11};
        const double y = round_to(kE4M3, x, options, static_cast<std::uint64_t>(i));
        ASSERT_TRUE(y == low || y == std::copysign(high, low));
        ups += y != low;
      }
      const double sigma = std::sqrt(fraction * (1 - fraction) / kDraws);
      EXPECT_NEAR(ups / kDraws, fraction, 4 * sigma + 1e-9) << x;
    }
  }
}

TEST(Cast, ArraysOfAnotherLengthOrWidthAreRefused) {
  const std::vector<float> values(3);
  std::vector<std::uint8_t> bytes(2);
  std::vector<std::uint16_t> words(3);
  const std::span<const float> source(values);
  EXPECT_EQ(cast(source, kE4M3, bytes, kSaturate).error().code, Code::size_mismatch);
  EXPECT_EQ(cast(source, kE4M3, words, kSaturate).error().code, Code::dtype_unsupported);
  EXPECT_EQ(cast(source, {.name = "x"}, words, kSaturate).error().code, Code::value_invalid);
}

TEST(Rounding, NamesGoBothWays) {
  for (const Rounding rounding : kRoundings)
    EXPECT_EQ(*rounding_from_name(name_of(rounding)), rounding);
  EXPECT_EQ(*rounding_from_name("nearest"), Rounding::nearest_even);
  EXPECT_EQ(rounding_from_name("half-up").error().code, Code::usage);
}

}  // namespace
}  // namespace ullage::formats
