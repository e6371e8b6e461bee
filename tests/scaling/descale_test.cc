// Descales: nothing at a bound saturates, and the next smaller stored number would not hold.
#include "ullage/scaling/descale.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <cmath>
#include <limits>

#include "ullage/formats/cast.h"
#include "ullage/formats/scalar.h"

namespace ullage::scaling {
namespace {

using formats::Format;

constexpr std::array<Format, 5> kTargets = {formats::kE4M3, formats::kE5M2, formats::kE4M3Fnuz,
                                            formats::kE5M2Fnuz, formats::kE2M1};
constexpr std::array<Format, 3> kStored = {formats::kFp32, formats::kBf16, formats::kE8M0};

rc::Gen<double> bounds() {
  return rc::gen::map(rc::gen::pair(rc::gen::inRange(-110, 120), rc::gen::inRange(0, 1 << 30)),
                      [](const std::pair<int, int>& parts) {
                        return std::ldexp(1.0 + std::ldexp(parts.second, -30), parts.first);
                      });
}

TEST(Descale, KnownValues) {
  EXPECT_EQ(*descale(448.0), 1.0);
  EXPECT_EQ(*descale(896.0), 2.0);
  EXPECT_EQ(*descale(448.0, {.eta = 0.5}), 2.0);
  EXPECT_EQ(*descale(57344.0, {.target = formats::kE5M2}), 1.0);
  // E8M0: the next power of two, an exact one kept.
  EXPECT_EQ(*descale(448.0, {.stored = formats::kE8M0}), 1.0);
  EXPECT_EQ(*descale(449.0, {.stored = formats::kE8M0}), 2.0);
  EXPECT_EQ(*descale(224.0, {.stored = formats::kE8M0}), 0.5);
  EXPECT_EQ(*descale(1.0, {.stored = formats::kE8M0}), std::exp2(-8));
  // BF16 has eight significant bits: 1 + 2^-8 becomes 1 + 2^-7.
  EXPECT_EQ(*descale(448.0 * (1.0 + 0x1p-8), {.stored = formats::kBf16}), 1.0 + 0x1p-7);
  EXPECT_EQ(*multiplier(448.0), 1.0F);
  // 448/3 = 149.333...: the float below it; TransformerEngine's own division rounds to nearest.
  EXPECT_LE(static_cast<double>(*multiplier(3.0)) * 3.0, 448.0);
  EXPECT_GT(static_cast<double>(std::nextafter(*multiplier(3.0), 1e9F)) * 3.0, 448.0);
}

TEST(Descale, NothingAndNextToNothingGiveOne) {
  EXPECT_EQ(*descale(0.0), 1.0);
  EXPECT_EQ(*multiplier(0.0), 1.0F);
  EXPECT_EQ(*descale(1e-40), 1.0);  // 1e-40 / 448 is subnormal
  EXPECT_EQ(*multiplier(1e-40), 1.0F);
  EXPECT_EQ(*descale(448.0 * 0x1p-126), 0x1p-126);
  EXPECT_EQ(*descale(447.0 * 0x1p-126), 1.0);
  EXPECT_EQ(*descale(447.0 * 0x1p-126, {.stored = formats::kBf16}), 1.0);
  // E8M0 has no subnormals: its smallest power holds.
  EXPECT_EQ(*descale(1e-300, {.stored = formats::kE8M0}), 0x1p-127);
}

TEST(Descale, EachRuleHasItsError) {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 1e300}) {
    EXPECT_EQ(descale(bad).error().code, Code::not_finite);
    EXPECT_EQ(multiplier(bad).error().code, Code::not_finite);
  }
  EXPECT_EQ(descale(-1.0).error().code, Code::value_invalid);
  EXPECT_EQ(multiplier(-1.0).error().code, Code::value_invalid);
  for (const double eta : {0.0, -0.5, 1.5, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_EQ(descale(1.0, {.eta = eta}).error().code, Code::value_invalid);
    EXPECT_EQ(multiplier(1.0, {.eta = eta}).error().code, Code::value_invalid);
  }
}

// Whatever divides or multiplies in FP32 or FP64, no |x| <= bound lands above the maximum.
TEST(Descale, NothingSaturatesAtTheBound) {
  EXPECT_TRUE(rc::check([] {
    const Format target = *rc::gen::elementOf(kTargets);
    const Format stored = *rc::gen::elementOf(kStored);
    const double eta = *rc::gen::element(1.0, 0.9, 0.5, 1.0 / 3.0);
    const double bound = *bounds();
    const DescaleRule rule{target, stored, eta};
    const Result<double> scale = descale(bound, rule);
    RC_ASSERT(scale.ok());
    RC_ASSERT(formats::round_to(stored, *scale, {.overflow = formats::Overflow::saturate}) ==
              *scale);
    const double largest = eta * target.max_finite();
    // The largest FP32 number within the bound, and the bound itself.
    auto x = static_cast<float>(bound);
    if (static_cast<double>(x) > bound) x = std::nextafter(x, 0.0F);
    const auto scale32 = static_cast<float>(*scale);
    RC_ASSERT(bound / *scale <= largest);
    RC_ASSERT(x / scale32 <= static_cast<float>(largest));
    RC_ASSERT(static_cast<double>(x) * static_cast<double>(1.0F / scale32) <= largest);
    const float multiplied = *multiplier(bound, rule);
    RC_ASSERT(static_cast<double>(x) * static_cast<double>(multiplied) <= largest);
    RC_ASSERT(x * multiplied <= static_cast<float>(largest));

    const std::array<float, 4> values = {x / scale32, -x / scale32, x * (1.0F / scale32),
                                         x * multiplied};
    std::array<std::uint8_t, 4> codes{};
    const Result<formats::CastCounts> counts =
        formats::cast(values, target, codes, {.overflow = formats::Overflow::saturate});
    RC_ASSERT(counts.ok());
    RC_ASSERT(counts->saturated == 0U);
  }));
}

// No looser than its format makes it: the next smaller stored number would not hold.
TEST(Descale, IsTight) {
  EXPECT_TRUE(rc::check([] {
    const Format target = *rc::gen::elementOf(kTargets);
    const double bound = *bounds();
    const double exact = bound / target.max_finite();
    RC_ASSERT(*descale(bound, {.target = target}) <= exact * (1.0 + 3 * 0x1p-23));
    RC_ASSERT(*descale(bound, {.target = target, .stored = formats::kBf16}) <=
              exact * (1.0 + 0x1p-7));
    RC_ASSERT(*descale(bound, {.target = target, .stored = formats::kE8M0}) < 2.0 * exact);
    RC_ASSERT(*multiplier(bound, {.target = target}) >= (1.0 - 0x1p-23) / exact);
  }));
}

// What is cast comes back within the target's unit (or its smallest step).
TEST(Descale, RoundTrip) {
  EXPECT_TRUE(rc::check([] {
    const Format target = *rc::gen::elementOf(kTargets);
    const Format stored = *rc::gen::elementOf(kStored);
    const double bound = *bounds();
    const double share =
        *rc::gen::map(rc::gen::inRange(-1000, 1001), [](int i) { return i / 1000.0; });
    const double scale = *descale(bound, {target, stored, 1.0});
    const double x = share * bound;
    const std::uint32_t code =
        formats::encode(target, x / scale, {.overflow = formats::Overflow::non_saturating});
    const double back = formats::decode(target, code) * scale;
    const double unit =
        std::max(target.unit_roundoff() * std::abs(x), 0.5 * target.min_subnormal() * scale);
    RC_ASSERT(std::abs(back - x) <= unit * (1.0 + 1e-12));
  }));
}

TEST(Utilisation, IsTheShareOfTheRange) {
  EXPECT_EQ(utilisation(224.0, 1.0, formats::kE4M3), 0.5);
  EXPECT_EQ(utilisation(448.0, *descale(448.0), formats::kE4M3), 1.0);
  EXPECT_LE(utilisation(3.0, *descale(3.0), formats::kE4M3), 1.0);
}

TEST(GroupMaximum, OfConsecutiveHeads) {
  const std::array<double, 6> bounds_of_heads = {1, 5, 2, 3, 9, 4};
  EXPECT_EQ(*group_maximum(bounds_of_heads, 2), (std::vector<double>{5, 3, 9}));
  EXPECT_EQ(*group_maximum(bounds_of_heads, 1), (std::vector<double>{1, 5, 2, 3, 9, 4}));
  EXPECT_EQ(*group_maximum(bounds_of_heads, 6), (std::vector<double>{9}));
  EXPECT_EQ(group_maximum(bounds_of_heads, 4).error().code, Code::value_invalid);
  EXPECT_EQ(group_maximum(bounds_of_heads, 0).error().code, Code::value_invalid);
}

TEST(StaticProbability, NeedsNoData) {
  EXPECT_EQ(static_probability_multiplier(formats::kE4M3, false), 448.0);
  EXPECT_EQ(static_probability_multiplier(formats::kE4M3, true), 256.0);
  EXPECT_EQ(static_probability_multiplier(formats::kE4M3Fnuz, true), 128.0);
  EXPECT_EQ(static_probability_multiplier(formats::kE5M2, true), 32768.0);
}

}  // namespace
}  // namespace ullage::scaling
