// Arithmetic in a format against long integers: exact results in __int128, rounded by a search for neighbours.
#include "ullage/formats/arithmetic.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace ullage::formats {
namespace {

constexpr CastOptions kNearest = {.overflow = Overflow::non_saturating};

// A sign and an integer times 2^exponent, wide enough for products and sums of narrow formats' values.
__extension__ using Wide = __int128;

// x 2^40 as an integer; x a value of a format whose last place is at least 2^-40.
Wide scaled(double x) { return static_cast<Wide>(std::ldexp(x, 40)); }

// Rounds exact / 2^places (places of the exact number's scale) by comparing with every value of the format.
double round_exactly(const Format& format, Wide exact, int places, Rounding rounding) {
  double below = -INFINITY;
  double above = INFINITY;
  for (std::uint32_t code = 0; code < format.code_count(); ++code) {
    const double value = decode(format, code);
    if (!std::isfinite(value)) continue;
    const Wide place = scaled(value) << (places - 40);
    if (place <= exact && value > below) below = value;
    if (place >= exact && value < above) above = value;
  }
  if (below == above) return below;
  if (std::isinf(below) || std::isinf(above)) return NAN;  // past the largest: not asked here
  const Wide low = exact - (scaled(below) << (places - 40));
  const Wide high = (scaled(above) << (places - 40)) - exact;
  switch (rounding) {
    case Rounding::up:
      return above;
    case Rounding::down:
      return below;
    case Rounding::toward_zero:
      return exact > 0 ? below : above;
    default:
      break;
  }
  if (low != high) return low < high ? below : above;
  if (rounding == Rounding::nearest_away) return exact > 0 ? above : below;
  return (encode(format, below, kNearest) & 1) == 0 ? below : above;
}

const Format kNarrow[] = {kE4M3, kE5M2, kE2M3, kE3M2};

// fma of three E2M3 or E4M3 values into every narrow format and rounding: all inexact cases, no double rounding.
RC_GTEST_PROP(Arithmetic, IsTheExactResultRoundedOnce, ()) {
  const Format& operand = *rc::gen::element(kE4M3, kE2M3, kE3M2);
  const auto draw = [&] {
    for (;;) {
      const auto code =
          *rc::gen::inRange<std::uint32_t>(0, static_cast<std::uint32_t>(operand.code_count()));
      if (const double value = decode(operand, code); std::isfinite(value)) return value;
    }
  };
  const double a = draw();
  const double b = draw();
  const double c = draw();
  for (const Format& format : kNarrow)
    for (const Rounding rounding : kRoundings) {
      if (rounding == Rounding::stochastic) continue;
      const CastOptions options = {.overflow = Overflow::non_saturating, .rounding = rounding};
      const Wide product = scaled(a) * scaled(b);  // places 80
      const Wide third = scaled(c) << 40;
      const double sum = round_exactly(format, (scaled(a) + scaled(c)) << 40, 80, rounding);
      const double fused = round_exactly(format, product + third, 80, rounding);
      const double times = round_exactly(format, product, 80, rounding);
      if (!std::isnan(sum)) RC_ASSERT(add(format, a, c, options) == sum);
      if (!std::isnan(times)) RC_ASSERT(multiply(format, a, b, options) == times);
      if (!std::isnan(fused)) RC_ASSERT(fused_multiply_add(format, a, b, c, options) == fused);
    }
}

// FP32 is what this machine computes itself.
TEST(Arithmetic, InFp32IsTheHardwares) {
  std::mt19937 engine(1);
  std::uniform_int_distribution<std::uint32_t> bits;
  for (int i = 0; i < 200000; ++i) {
    const auto a = std::bit_cast<float>(bits(engine));
    // Half of the time close in exponent, where sums cancel and round.
    const auto b = i % 2 == 0 ? std::bit_cast<float>(bits(engine))
                              : a * static_cast<float>(1 + 1e-3 * (bits(engine) % 1000));
    const auto c = std::bit_cast<float>(bits(engine));
    if (!std::isfinite(a) || !std::isfinite(b) || !std::isfinite(c)) continue;
    const auto same = [](double x, float y) {
      return std::isnan(x) ? std::isnan(y)
                           : std::bit_cast<std::uint32_t>(static_cast<float>(x)) ==
                                 std::bit_cast<std::uint32_t>(y);
    };
    ASSERT_TRUE(same(add(kFp32, a, -b, kNearest), a - b)) << a << ' ' << b;
    ASSERT_TRUE(same(multiply(kFp32, a, b, kNearest), a * b)) << a << ' ' << b;
    ASSERT_TRUE(same(fused_multiply_add(kFp32, a, b, c, kNearest), std::fma(a, b, c)))
        << a << ' ' << b << ' ' << c;
  }
}

TEST(Arithmetic, SumsThatFp64WouldRoundTwice) {
  // 1 + 2^-8 (half a step of BF16) + 2^-70: in FP64 the last term is lost and the tie goes to 1.
  EXPECT_EQ(add(kBf16, 1 + 0x1p-8, 0x1p-70, kNearest), 1 + 0x1p-7);
  EXPECT_EQ(add(kBf16, 1 + 0x1p-8, -0x1p-70, kNearest), 1.0);
  EXPECT_EQ(add(kBf16, 1 + 0x1p-7 + 0x1p-8, -0x1p-70, kNearest), 1 + 0x1p-7);
  EXPECT_EQ(add(kE4M3, 1, 0x1p-60, {.overflow = Overflow::saturate, .rounding = Rounding::up}),
            1.125);
  EXPECT_EQ(fused_multiply_add(kFp32, 1 + 0x1p-12, 1 + 0x1p-12, 0x1p-100, kNearest),
            1 + 0x1p-11 + 0x1p-23);
}

TEST(Arithmetic, ZerosAndSpecialValuesFollowIeee) {
  const CastOptions down = {.overflow = Overflow::non_saturating, .rounding = Rounding::down};
  EXPECT_TRUE(std::signbit(add(kFp16, 1.5, -1.5, down)));
  EXPECT_FALSE(std::signbit(add(kFp16, 1.5, -1.5, kNearest)));
  EXPECT_TRUE(std::isnan(add(kFp16, INFINITY, -INFINITY, kNearest)));
  EXPECT_EQ(add(kFp16, 65504, 65504, kNearest), INFINITY);
  EXPECT_EQ(add(kFp16, 65504, 65504, {.overflow = Overflow::saturate}), 65504);
}

TEST(Dot, RoundsTheAccumulatorAfterEachStep) {
  // 2048 ones in FP16: exact to 2048, then 2048 + 1 is a tie to even and stays.
  const std::vector<double> ones(4096, 1.0);
  EXPECT_EQ(*dot(ones, ones, {.accumulator = kFp16, .product = {}, .cast = kNearest}), 2048);
  EXPECT_EQ(*dot(ones, ones, {.accumulator = kFp16, .product = {}, .block = 128, .cast = kNearest}),
            4096);
  EXPECT_EQ(*dot(ones, ones, {.accumulator = kFp32, .product = {}, .cast = kNearest}), 4096);
  // Products of 1 + 2^-7 in BF16: rounded one by one they lose 2^-14, fused they do not.
  const std::vector<double> near(2, 1 + 0x1p-7);
  EXPECT_EQ(*dot(near, near, {.accumulator = kFp32, .product = {}, .cast = kNearest}),
            2 * (1 + 0x1p-6 + 0x1p-14));
  EXPECT_EQ(*dot(near, near, {.accumulator = kFp32, .product = kBf16, .cast = kNearest}),
            2 * (1 + 0x1p-6));
  EXPECT_EQ(*dot({}, {}, {.product = {}, .cast = kNearest}), 0);
}

TEST(Dot, RefusesWhatDoesNotFit) {
  const std::vector<double> two(2, 1.0);
  const std::vector<double> three(3, 1.0);
  EXPECT_EQ(dot(two, three, {.product = {}, .cast = kNearest}).error().code, Code::size_mismatch);
  EXPECT_EQ(
      dot(two, two, {.accumulator = {.name = "x"}, .product = {}, .cast = kNearest}).error().code,
      Code::value_invalid);
}

TEST(Dot, StochasticAccumulationIsUnbiased) {
  // 256 is where BF16's step is 2: adding 0.5 is lost by rounding to nearest, not on average here.
  std::vector<double> a(101, 0.5);
  const std::vector<double> b(101, 1.0);
  a[0] = 256;
  EXPECT_EQ(*dot(a, b, {.accumulator = kBf16, .product = {}, .cast = kNearest}), 256);
  double mean = 0;
  constexpr int kRuns = 400;
  for (std::uint64_t seed = 0; seed < kRuns; ++seed)
    mean += *dot(a, b,
                 {.accumulator = kBf16,
                  .product = {},
                  .cast = {.overflow = Overflow::saturate,
                           .rounding = Rounding::stochastic,
                           .seed = seed}}) /
            kRuns;
  // Each of 100 steps adds a coin of mean 0.5 and variance 2 * 0.5 - 0.25.
  EXPECT_NEAR(mean, 306, 4 * std::sqrt(100 * 0.75 / kRuns));
}

}  // namespace
}  // namespace ullage::formats
