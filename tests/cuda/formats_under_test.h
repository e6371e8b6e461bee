// Formats that the tests of casts go over beside formats/cast_inputs.h, and how counts are compared.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "formats/cast_inputs.h"
#include "ullage/formats/cast.h"

namespace ullage::cuda {

using formats::described;
using formats::hostile_inputs;
using formats::options_under_test;

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
