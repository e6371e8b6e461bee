// Scalar and array casts against the golden vectors, every input, both overflow conventions.
#include "formats/golden.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "ullage/formats/cast.h"
#include "ullage/formats/scalar.h"

namespace ullage::formats {
namespace {

struct Variant {
  CastOptions options;
  const char* name;
};

const Variant kVariants[] = {
    {{.overflow = Overflow::non_saturating}, "non-saturating"},
    {{.overflow = Overflow::saturate}, "saturating"},
    {{.overflow = Overflow::saturate, .rounding = Rounding::toward_zero}, "saturating toward zero"},
    {{.overflow = Overflow::saturate, .rounding = Rounding::up}, "saturating up"},
};

bool agrees(const Golden& golden, std::uint32_t expected, std::uint32_t code) {
  if (golden.format.is_nan(expected)) return golden.format.is_nan(code);
  return code == expected;
}

// The vectors round the magnitude of negative inputs to E8M0 and map what lies below 2^-127 upward;
// both are conventions, and flagged so.
bool judged(const Golden& golden, std::size_t i) {
  return (golden.flags[i] & kGoldenConvention) == 0;
}

TEST(Golden, HoldsWhatItSays) {
  std::size_t inputs = 0;
  std::size_t traps = 0;
  for (const Golden& golden : golden_vectors()) {
    inputs += golden.inputs.size();
    for (const std::uint8_t flag : golden.flags) traps += (flag & kGoldenTrap) != 0;
  }
  EXPECT_EQ(inputs, 562924U);
  EXPECT_GT(traps, 20000U);
}

TEST(Golden, DecodesEveryCode) {
  for (const Golden& golden : golden_vectors()) {
    ASSERT_EQ(golden.values.size(), golden.format.code_count());
    for (std::uint32_t code = 0; code < golden.values.size(); ++code) {
      const auto value = static_cast<float>(decode(golden.format, code));
      const auto expected = std::bit_cast<float>(golden.values[code]);
      if (std::isnan(expected))
        EXPECT_TRUE(std::isnan(value)) << golden.file << " code " << code;
      else
        EXPECT_EQ(std::bit_cast<std::uint32_t>(value), golden.values[code])
            << golden.file << " code " << code;
    }
  }
}

TEST(Golden, EncodesEveryInput) {
  for (const Golden& golden : golden_vectors())
    for (std::size_t variant = 0; variant < golden.codes.size(); ++variant) {
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < golden.inputs.size(); ++i) {
        if (!judged(golden, i)) continue;
        const std::uint32_t code =
            encode(golden.format, golden.inputs[i], kVariants[variant].options);
        if (!agrees(golden, golden.codes[variant][i], code) && ++wrong <= 5)
          ADD_FAILURE() << golden.file << ' ' << kVariants[variant].name << " input "
                        << std::hexfloat << golden.inputs[i] << std::hex << " expected "
                        << golden.codes[variant][i] << " found " << code;
      }
      EXPECT_EQ(wrong, 0U) << golden.file << ' ' << kVariants[variant].name;
    }
}

TEST(Golden, CountsAgreeWithTheFlags) {
  for (const Golden& golden : golden_vectors()) {
    if (!golden.format.has_sign) continue;
    std::uint64_t nan = 0;
    std::uint64_t overflow = 0;
    for (const std::uint8_t flag : golden.flags) {
      nan += (flag & kGoldenNan) != 0;
      overflow += (flag & kGoldenOverflow) != 0;
    }
    const CastOptions options = {.overflow = Overflow::saturate};
    Result<CastCounts> counts = Error{};
    if (golden.format.bytes() == 1) {
      std::vector<std::uint8_t> codes(golden.inputs.size());
      counts = cast(std::span<const float>(golden.inputs), golden.format, codes, options);
    } else {
      std::vector<std::uint16_t> codes(golden.inputs.size());
      counts = cast(std::span<const float>(golden.inputs), golden.format, codes, options);
    }
    ASSERT_TRUE(counts.ok()) << counts.error().message();
    EXPECT_EQ(counts->nan, nan) << golden.file;
    EXPECT_EQ(counts->saturated, overflow) << golden.file;
    EXPECT_EQ(counts->elements, golden.inputs.size());
  }
}

}  // namespace
}  // namespace ullage::formats
