// Stored numbers as FP32, for the loops in plain C++.
#pragma once

#include <bit>
#include <cstdint>

namespace ullage::spectrum {

inline float widen(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}
inline float widen(float value) { return value; }
inline float widen(double value) { return static_cast<float>(value); }

}  // namespace ullage::spectrum
