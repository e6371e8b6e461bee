// Formats, roundings and inputs that the tests of casts go over, and how counts are compared.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cfloat>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "ullage/formats/cast.h"
#include "ullage/formats/scalar.h"

namespace ullage::cuda {

// Every card, and formats of a user that take other turns.
inline std::vector<formats::Format> formats_under_test() {
  std::vector<formats::Format> all(formats::kFormats.begin(), formats::kFormats.end());
  for (const char* text :
       {"e3m4", "e4m3:bias=8,nan=negative-zero,infinity=yes", "e8m7:subnormals=no",
        "e3m0:nan=none,infinity=no", "e5m3:bias=140", "e6m15", "e8m3", "e2m1:nan=ieee", "e5m9"}) {
    const Result<formats::Format> format = formats::format_from_text(text);
    EXPECT_TRUE(format.ok()) << text << ": " << format.error().message();
    if (format.ok()) all.push_back(*format);
  }
  return all;
}

inline std::vector<formats::CastOptions> options_under_test(std::uint64_t first_index = 0) {
  std::vector<formats::CastOptions> all;
  for (const formats::Rounding rounding : formats::kRoundings)
    for (const formats::Overflow overflow : {formats::Overflow(formats::Overflow::saturate),
                                             formats::Overflow(formats::Overflow::non_saturating)})
      all.push_back(
          {.overflow = overflow, .rounding = rounding, .seed = 7, .first_index = first_index});
  return all;
}

inline std::string described(const formats::Format& to, const formats::CastOptions& options) {
  return std::string(to.label()) + " " + formats::name_of(options.rounding) + " " +
         formats::name_of(options.overflow);
}

// Random patterns, values of the format, their neighbours and midpoints.
inline std::vector<float> hostile_inputs(const formats::Format& format, std::size_t count,
                                         unsigned seed) {
  std::mt19937 engine(seed);
  std::vector<float> inputs = {0.0F,      -0.0F,      INFINITY,  -INFINITY, NAN,      -NAN,
                               0x1p-149F, -0x1p-149F, 0x1p-126F, FLT_MAX,   -FLT_MAX, 1.0F};
  while (inputs.size() < count) {
    inputs.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(engine())));
    const double value =
        formats::decode(format, static_cast<std::uint32_t>(engine() % format.code_count()));
    if (!std::isfinite(value)) continue;
    const auto near = static_cast<float>(value);
    const auto spread = static_cast<float>((engine() % 4097) * 0x1p-12 * format.unit_roundoff());
    inputs.push_back(near);
    inputs.push_back(std::nextafter(near, INFINITY));
    inputs.push_back(near * (1 + spread));
    inputs.push_back(near * static_cast<float>(1 + format.unit_roundoff()));
  }
  inputs.resize(count);
  return inputs;
}

// The same bits, of the error's sum too; NaN (E8M0, whose casts give NaN for negative numbers) equals NaN.
inline void expect_same_counts(const formats::CastCounts& found,
                               const formats::CastCounts& expected) {
  EXPECT_EQ(found.elements, expected.elements);
  EXPECT_EQ(found.nan, expected.nan);
  EXPECT_EQ(found.saturated, expected.saturated);
  EXPECT_EQ(found.flushed, expected.flushed);
  EXPECT_EQ(found.amax, expected.amax);
  EXPECT_EQ(found.error_count, expected.error_count);
  if (std::isnan(expected.error_sum))
    EXPECT_TRUE(std::isnan(found.error_sum));
  else
    EXPECT_EQ(std::bit_cast<std::uint64_t>(found.error_sum),
              std::bit_cast<std::uint64_t>(expected.error_sum))
        << found.error_sum << " and " << expected.error_sum;
}

}  // namespace ullage::cuda
