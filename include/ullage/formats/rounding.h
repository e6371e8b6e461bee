// How a cast rounds, and what it does past the largest finite value.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "ullage/base/result.h"

namespace ullage::formats {

enum class Rounding : std::uint8_t {
  nearest_even,  // ties to the code with an even significand (IEEE 754 default)
  nearest_away,  // ties away from zero
  toward_zero,
  up,    // toward +infinity
  down,  // toward -infinity
  // Away from zero with the probability that the discarded part is of a step, rounded down to a multiple
  // of 2^-23: all of an FP32 source's bits in the normal range, so unbiased there. The random word
  // depends on the seed and the element's logical index alone (random.h).
  stochastic,
};
inline constexpr std::array<Rounding, 6> kRoundings = {
    Rounding::nearest_even, Rounding::nearest_away, Rounding::toward_zero,
    Rounding::up,           Rounding::down,         Rounding::stochastic};

// "nearest-even", "nearest-away", "toward-zero", "up", "down", "stochastic"; "nearest" is
// nearest-even; usage for another name.
const char* name_of(Rounding rounding);
Result<Rounding> rounding_from_name(std::string_view name);

// What becomes of a value whose rounding lies past the largest finite one. There is no default,
// since hardware and libraries differ: whoever casts names it.
class Overflow {
 public:
  enum Value : std::uint8_t {
    // To the largest finite value of its sign, infinities too; NaN stays NaN. NVIDIA's satfinite,
    // the saturating mode of OCP.
    saturate,
    // To infinity where the format has one, else to NaN (as ml_dtypes), else (FP4, FP6) to the
    // largest value. Rounding toward zero never passes the largest finite value: finite inputs end
    // there.
    non_saturating,
  };
  constexpr Overflow(Value value) : value_(value) {}   // NOLINT(google-explicit-constructor)
  constexpr operator Value() const { return value_; }  // NOLINT(google-explicit-constructor)

 private:
  Value value_;
};

// "saturate", "non-saturating".
const char* name_of(Overflow overflow);

struct CastOptions {
  Overflow overflow;
  Rounding rounding = Rounding::nearest_even;
  std::uint64_t seed = 0;  // stochastic rounding only
  // Logical index of the first element; parts of one array pass their offset.
  std::uint64_t first_index = 0;
  int threads = 1;  // arrays only; 0: default_threads(). Never changes a result.
};

}  // namespace ullage::formats
