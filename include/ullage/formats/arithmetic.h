// Arithmetic as a processor with a given format would do it: each result is the exact one, rounded once.
//
// Operands are values of formats (at most 24 significant bits, check_format()'s exponents) in FP64. A product
// of two has 48 bits and is exact in FP64. A sum is not: its error is computed exactly (D. Knuth's
// TwoSum), and a sum that is not exact is made odd in its last bit. Rounding that to 51 bits or fewer
// gives what rounding the exact sum gives, in every direction (S. Boldo, G. Melquiond, "Emulation of FMA
// and correctly rounded sums: proved algorithms using rounding to odd", IEEE TC 2008, theorem 1).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include "ullage/base/result.h"
#include "ullage/formats/format.h"
#include "ullage/formats/rounding.h"
#include "ullage/formats/scalar.h"

namespace ullage::formats {

// a + b, rounded to odd: exact, or the neighbour of the exact sum whose last bit is one.
constexpr double sum_to_odd(double a, double b) {
  const double sum = a + b;
  const double magnitude = sum < 0 ? -sum : sum;
  if (!(magnitude <= std::numeric_limits<double>::max())) return sum;  // NaN, infinity
  const double b_part = sum - a;
  const double error = (a - (sum - b_part)) + (b - b_part);
  const auto bits = std::bit_cast<std::uint64_t>(sum);
  if (error == 0 || (bits & 1) != 0) return sum;
  // An inexact sum is not zero. Towards the error: away from zero where it has the sum's sign.
  return std::bit_cast<double>((error > 0) == (sum > 0) ? bits + 1 : bits - 1);
}

// The exact result rounded to `format`. An exact zero from operands of opposite sign is -0 when rounding
// down, else +0, as IEEE 754 has it; index numbers the operation for stochastic rounding.
constexpr double add(const Format& format, double a, double b, const CastOptions& options,
                     std::uint64_t index = 0) {
  double sum = sum_to_odd(a, b);
  if (sum == 0 && a != 0 && options.rounding == Rounding::down) sum = -0.0;
  return round_to(format, sum, options, index);
}

constexpr double multiply(const Format& format, double a, double b, const CastOptions& options,
                          std::uint64_t index = 0) {
  return round_to(format, a * b, options, index);
}

// a b + c with one rounding.
constexpr double fused_multiply_add(const Format& format, double a, double b, double c,
                                    const CastOptions& options, std::uint64_t index = 0) {
  return add(format, a * b, c, options, index);
}

struct DotOptions {
  Format accumulator = kFp32;
  // What each product is rounded to before it is added; nullopt: it is not rounded (a fused operation,
  // as in tensor cores).
  std::optional<Format> product;
  // Products summed in one running sum before that is added to the total; 0: one running sum for all.
  std::size_t block = 0;
  CastOptions cast;
};

// The sum of a[i] b[i] in ascending order, the accumulator rounded after every addition.
// a and b: values of formats; of one length.
Result<double> dot(std::span<const double> a, std::span<const double> b, const DotOptions& options);

}  // namespace ullage::formats
