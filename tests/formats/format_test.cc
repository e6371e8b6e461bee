// The cards: figures of the specifications, written out here and compared with what the cards
// derive.
#include "ullage/formats/format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "ullage/formats/scalar.h"

namespace ullage::formats {
namespace {

struct Card {
  const char* name;
  int bits;
  double max_finite, min_normal, min_subnormal, unit_roundoff;
  bool infinity, nan;
};

const Card kCards[] = {
    {"e4m3", 8, 448, std::ldexp(1, -6), std::ldexp(1, -9), 0x1p-4, false, true},
    {"e4m3fnuz", 8, 240, std::ldexp(1, -7), std::ldexp(1, -10), 0x1p-4, false, true},
    {"e5m2", 8, 57344, std::ldexp(1, -14), std::ldexp(1, -16), 0x1p-3, true, true},
    {"e5m2fnuz", 8, 57344, std::ldexp(1, -15), std::ldexp(1, -17), 0x1p-3, false, true},
    {"e8m0", 8, 0x1p127, 0x1p-127, 0x1p-127, 0.5, false, true},
    {"e2m1", 4, 6, 1, 0.5, 0.25, false, false},
    {"e2m3", 6, 7.5, 1, 0.125, 0x1p-4, false, false},
    {"e3m2", 6, 28, 0.25, 0x1p-4, 0x1p-3, false, false},
    {"fp16", 16, 65504, 0x1p-14, 0x1p-24, 0x1p-11, true, true},
    {"bf16", 16, 0x1.FEp127, 0x1p-126, 0x1p-133, 0x1p-8, true, true},
    {"tf32", 19, 0x1.FFCp127, 0x1p-126, 0x1p-136, 0x1p-11, true, true},
    {"fp32", 32, 0x1.FFFFFEp127, 0x1p-126, 0x1p-149, 0x1p-24, true, true},
};

TEST(Format, CardsHoldThePublishedFigures) {
  ASSERT_EQ(std::size(kCards), kFormats.size());
  for (const Card& card : kCards) {
    const Result<Format> format = find_format(card.name);
    ASSERT_TRUE(format.ok()) << card.name;
    EXPECT_EQ(format->bits(), card.bits) << card.name;
    EXPECT_EQ(format->max_finite(), card.max_finite) << card.name;
    EXPECT_EQ(format->min_normal(), card.min_normal) << card.name;
    EXPECT_EQ(format->min_subnormal(), card.min_subnormal) << card.name;
    EXPECT_EQ(format->unit_roundoff(), card.unit_roundoff) << card.name;
    EXPECT_EQ(format->has_infinity, card.infinity) << card.name;
    EXPECT_EQ(format->nan != NanCodes::none, card.nan) << card.name;
    EXPECT_TRUE(check_format(*format).ok()) << card.name;
  }
}

TEST(Format, SpecialCodesAreThoseOfTheSpecifications) {
  EXPECT_EQ(kE4M3.max_code(), 0x7EU);
  EXPECT_EQ(kE4M3.nan_code(), 0x7FU);
  EXPECT_EQ(kE5M2.max_code(), 0x7BU);
  EXPECT_EQ(kE5M2.infinity_code(), 0x7CU);
  EXPECT_EQ(kE5M2.nan_code(), 0x7EU);
  EXPECT_EQ(kE4M3Fnuz.max_code(), 0x7FU);
  EXPECT_EQ(kE4M3Fnuz.nan_code(), 0x80U);
  EXPECT_EQ(kE8M0.max_code(), 0xFEU);
  EXPECT_EQ(kE8M0.nan_code(), 0xFFU);
  EXPECT_EQ(kFp32.nan_code(), 0x7FC00000U);
  EXPECT_EQ(kBf16.infinity_code(), 0x7F80U);
}

TEST(Format, UnknownNameIsRefusedWithTheList) {
  const Result<Format> format = find_format("e9m9");
  ASSERT_FALSE(format.ok());
  EXPECT_EQ(format.error().code, Code::usage);
  EXPECT_NE(format.error().message().find("e4m3fnuz"), std::string::npos);
}

TEST(Format, CardsThatNoCodeCanHoldAreRefused) {
  const auto refused = [](Format format) {
    const Status status = check_format(format);
    return !status.ok() && status.error().code == Code::value_invalid;
  };
  EXPECT_TRUE(refused({.name = "x", .exponent_bits = 0, .mantissa_bits = 3}));
  EXPECT_TRUE(refused({.name = "x", .exponent_bits = 9, .mantissa_bits = 3}));
  EXPECT_TRUE(refused({.name = "x", .exponent_bits = 4, .mantissa_bits = 24}));
  EXPECT_TRUE(refused({.name = "x", .exponent_bits = 4, .mantissa_bits = -1}));
  EXPECT_TRUE(refused({.name = "x", .exponent_bits = 4, .mantissa_bits = 3, .bias = 300}));
  EXPECT_TRUE(refused({.name = "x", .exponent_bits = 4, .mantissa_bits = 0}));
  EXPECT_TRUE(
      refused({.name = "x", .exponent_bits = 4, .mantissa_bits = 3, .has_infinity = false}));
  EXPECT_TRUE(
      refused({.name = "x", .exponent_bits = 1, .mantissa_bits = 3, .has_subnormals = false}));
  EXPECT_TRUE(refused({.name = "x", .exponent_bits = 4, .mantissa_bits = 3, .has_sign = false}));
  EXPECT_TRUE(
      refused({.name = "x", .exponent_bits = 8, .mantissa_bits = 7, .bias = -2147483647 - 1}));
  Format unnamed = kE4M3;
  for (char& letter : unnamed.name) letter = 'x';
  EXPECT_TRUE(refused(unnamed));
}

// The ends of each bias that is let through, in FP32 and back; one step further FP32 loses them.
TEST(Format, Fp32HoldsEveryValue) {
  for (const int exponent_bits : {2, 4, 8})
    for (const int mantissa_bits : {0, 3, 22, 23})
      for (const NanCodes nan : {NanCodes::ieee, NanCodes::all_ones, NanCodes::none}) {
        Format format = {.name = "x",
                         .exponent_bits = exponent_bits,
                         .mantissa_bits = mantissa_bits,
                         .nan = nan,
                         .has_infinity = nan == NanCodes::ieee};
        const auto holds = [&] {
          const double ends[] = {format.max_finite(), power_of_two(format.quantum_exponent())};
          return std::all_of(std::begin(ends), std::end(ends), [](double x) {
            return static_cast<double>(static_cast<float>(x)) == x;
          });
        };
        for (format.bias = 0; format.bias > -200 && holds();) --format.bias;
        for (; format.bias <= 200; ++format.bias) {
          const Status status = check_format(format);
          if (!status.ok() && status.error().where != "bias") break;  // none of its biases will do
          ASSERT_EQ(status.ok(), holds())
              << 'e' << exponent_bits << 'm' << mantissa_bits << ' ' << format.bias;
        }
      }
}

TEST(FormatText, MakesFormatsOfTheUsersOwn) {
  EXPECT_EQ(*format_from_text("e4m3"), kE4M3);
  const Format e3m4 = *format_from_text("e3m4");
  EXPECT_EQ(e3m4.bias, 3);
  EXPECT_EQ(e3m4.max_finite(), 15.5);
  EXPECT_TRUE(e3m4.has_infinity);
  const Format finite = *format_from_text("e3m4:bias=2,nan=all-ones,subnormals=no");
  EXPECT_EQ(finite.bias, 2);
  EXPECT_FALSE(finite.has_infinity);
  EXPECT_FALSE(finite.has_subnormals);
  EXPECT_EQ(finite.max_finite(), 60.0);
  EXPECT_TRUE(format_from_text("e4m3:nan=negative-zero,infinity=yes")->has_infinity);
}

TEST(FormatText, ChangesACardByWhatIsSaid) {
  Format flushing = kE4M3;
  flushing.has_subnormals = false;
  EXPECT_EQ(*format_from_text("e4m3:subnormals=no"), flushing);
  EXPECT_EQ(format_from_text("e4m3:subnormals=no")->max_finite(), 448);
  for (const char* text : {"e4m3:bias=7", "e4m3:nan=all-ones", "e4m3:infinity=no"})
    EXPECT_EQ(*format_from_text(text), kE4M3) << text;
  const Format ieee = *format_from_text("e4m3:nan=ieee");
  EXPECT_TRUE(ieee.has_infinity);
  EXPECT_EQ(ieee.max_finite(), 240);
  EXPECT_EQ(*format_from_text("e2m1:infinity=yes,nan=ieee"), *format_from_text("e2m1:nan=ieee"));
  EXPECT_FALSE(format_from_text("bf16:subnormals=no")->has_subnormals);
  EXPECT_FALSE(format_from_text("e8m0:bias=127")->has_sign);
  EXPECT_EQ(format_from_text("e4m3fnuz:subnormals=no")->bias, 8);
}

TEST(FormatText, RefusesTheRest) {
  for (const char* text :
       {"", "e", "e4", "e4m", "em3", "e4m3x", "e4m3:bias=x", "e4m3:nan=some", "e4m3:infinity=1",
        "fp17", "e4m3:bias=7,,", "e4m3:", "e4m3:bias=7,", "e4m3:bias", "e4m3:=7", "fp17:bias=1"}) {
    const Result<Format> format = format_from_text(text);
    ASSERT_FALSE(format.ok()) << text;
    EXPECT_EQ(format.error().code, Code::usage) << text;
  }
  EXPECT_EQ(format_from_text("e9m3").error().code, Code::value_invalid);
  EXPECT_EQ(format_from_text("e3m4:infinity=no").error().code, Code::value_invalid);
  EXPECT_EQ(format_from_text("e8m7:bias=-128").error().code, Code::value_invalid);
  EXPECT_EQ(format_from_text("e99999999999m3").error().code, Code::usage);
}

}  // namespace
}  // namespace ullage::formats
