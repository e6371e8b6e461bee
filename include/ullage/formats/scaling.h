// Scales of whole arrays, rows or columns, from their largest magnitudes, and casts under them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ullage/base/result.h"
#include "ullage/formats/cast.h"
#include "ullage/formats/format.h"

namespace ullage::formats {

// The multiplier that brings amax to the format's largest value.
struct CurrentScaling {
  enum class Style : std::uint8_t {
    // TransformerEngine's current and block scaling: amax at least epsilon; FP32 division; 1 where amax is zero,
    // infinite or NaN; FLT_MAX where the quotient overflows.
    transformer_engine,
    // torchao's: FP32 of max / max(amax in FP64, 1e-12); NaN stays NaN.
    torchao,
  };
  Style style = Style::transformer_engine;
  float epsilon = 0;          // transformer_engine only
  bool power_of_two = false;  // rounds the multiplier down to a power of two
};
float current_scale(float amax, const Format& format, const CurrentScaling& scaling);

// The largest |value|; NaN if there is one. FP64 sources are rounded to FP32.
Result<float> largest_magnitude(const ArrayView& source, int threads);

enum class Granularity : std::uint8_t {
  tensor,   // one scale
  row,      // one for each index of all axes but the last
  channel,  // one for each index of the last axis
};

// Sizes: how many scales an array has.
Result<std::size_t> scale_count(const ArrayView& source, Granularity granularity);

// Writes the multipliers and the codes of FP32(value) * multiplier, in FP32, each rounded once. Counts are in the
// source's units. Descales, which decoding multiplies by, are their reciprocals.
Result<CastCounts> cast_scaled(const ArrayView& source, const Format& to, Granularity granularity,
                               const CurrentScaling& scaling, void* codes,
                               std::span<float> multipliers, const CastOptions& options);

}  // namespace ullage::formats
