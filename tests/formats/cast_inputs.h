// Options and inputs that tests of casts go over, on any device.
#pragma once

#include <bit>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "ullage/formats/rounding.h"
#include "ullage/formats/scalar.h"

namespace ullage::formats {

// Every rounding, saturating and not.
inline std::vector<CastOptions> options_under_test(std::uint64_t first_index = 0) {
  std::vector<CastOptions> all;
  for (const Rounding rounding : kRoundings)
    for (const Overflow overflow :
         {Overflow(Overflow::saturate), Overflow(Overflow::non_saturating)})
      all.push_back(
          {.overflow = overflow, .rounding = rounding, .seed = 7, .first_index = first_index});
  return all;
}

inline std::string described(const Format& to, const CastOptions& options) {
  return std::string(to.label()) + " " + name_of(options.rounding) + " " +
         name_of(options.overflow);
}

// Random patterns, values of the format, their neighbours and midpoints.
inline std::vector<float> hostile_inputs(const Format& format, std::size_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::vector<float> inputs = {0.0F,      -0.0F,      INFINITY,  -INFINITY, NAN,      -NAN,
                               0x1p-149F, -0x1p-149F, 0x1p-126F, FLT_MAX,   -FLT_MAX, 1.0F};
  while (inputs.size() < count) {
    inputs.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(engine())));
    const double value = decode(format, static_cast<std::uint32_t>(engine() % format.code_count()));
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

}  // namespace ullage::formats
