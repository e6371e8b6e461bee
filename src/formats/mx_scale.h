// An MX block's E8M0 scale from the FP32 pattern of its largest magnitude.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "formats/kernels.h"

namespace ullage::formats {

constexpr std::uint32_t mx_scale_code(const MxParameters& p, std::uint32_t pattern) {
  constexpr std::uint32_t kInfinity = 0x7F800000;
  constexpr std::uint32_t kMost = 0xFE;
  constexpr std::uint32_t kNan = 0xFF;
  if (pattern > kInfinity) return kNan;
  if (p.by_reciprocal) {
    // TransformerEngine's software path: up where the mantissa is not zero, but not past 2^127, nor for what
    // lies below 2^-127.
    if (pattern == kInfinity) return kMost;
    const auto product = std::bit_cast<std::uint32_t>(std::bit_cast<float>(pattern) * p.reciprocal);
    const std::uint32_t exponent = product >> 23;
    const std::uint32_t mantissa = product & 0x7FFFFF;
    const bool up = mantissa != 0 && exponent != kMost && (exponent != 0 || mantissa > 0x400000);
    return exponent + (up ? 1 : 0);
  }
  if (pattern == kInfinity) return kNan;
  // The exponent of amax, rounded by the carry that the addend makes.
  const int exponent = static_cast<int>((pattern + p.addend) >> 23) - p.emax;
  return static_cast<std::uint32_t>(std::clamp(exponent, 0, static_cast<int>(kMost)));
}

// FP32 pattern of the scale 2^(code - 127); 2^-127 is below FP32's normal numbers.
constexpr std::uint32_t mx_scale_pattern(std::uint32_t code) {
  if (code == 0xFF) return 0x7FC00000;
  return code == 0 ? 0x00400000 : code << 23;
}

}  // namespace ullage::formats
