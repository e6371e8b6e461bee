// One number: decode, encode and round by definition, with integer arithmetic on FP64's bits.
//
// Every other implementation of the room is tested against these. A source is read as FP64, which
// holds each value of each format here exactly, so there is one rounding and never two.
#pragma once

#include <bit>
#include <cassert>
#include <cstdint>
#include <limits>

#include "ullage/formats/format.h"
#include "ullage/formats/random.h"
#include "ullage/formats/rounding.h"

namespace ullage::formats {

// Exact value of a code; bits above the format's are ignored. NaN comes back as the quiet positive
// NaN.
constexpr double decode(const Format& format, std::uint32_t code) {
  if (format.is_nan(code)) return std::numeric_limits<double>::quiet_NaN();
  const bool negative = (code & format.sign_mask()) != 0;
  if (format.is_infinite(code)) {
    const double infinity = std::numeric_limits<double>::infinity();
    return negative ? -infinity : infinity;
  }
  const auto field = static_cast<int>((code & format.magnitude_mask()) >> format.mantissa_bits);
  const auto mantissa = static_cast<double>(code & format.mantissa_mask());
  double magnitude = 0;
  if (field != 0 || !format.has_zero())
    magnitude = (mantissa + power_of_two(format.mantissa_bits)) *
                power_of_two(field - format.bias - format.mantissa_bits);
  else if (format.has_subnormals)
    magnitude = mantissa * power_of_two(format.quantum_exponent());
  return negative ? -magnitude : magnitude;
}

namespace detail {

// Whether the magnitude quanta + remainder / 2^shift goes to quanta + 1; 0 < remainder < 2^shift.
constexpr bool rounds_up(Rounding rounding, bool negative, std::uint64_t quanta,
                         std::uint64_t remainder, int shift, std::uint32_t random) {
  // 0: the remainder is less than half.
  const std::uint64_t half = shift < 64 ? std::uint64_t{1} << (shift - 1) : 0;
  switch (rounding) {
    case Rounding::nearest_even:
      return half != 0 && (remainder > half || (remainder == half && (quanta & 1) != 0));
    case Rounding::nearest_away:
      return half != 0 && remainder >= half;
    case Rounding::toward_zero:
      return false;
    case Rounding::up:
      return !negative;
    case Rounding::down:
      return negative;
    case Rounding::stochastic: {
      // The remainder as a 23-bit fraction of a step, rounded down, plus 23 random bits: a carry.
      const std::uint64_t fraction = shift <= 23   ? remainder << (23 - shift)
                                     : shift <= 86 ? remainder >> (shift - 23)
                                                   : 0;
      return fraction + (random >> 9) >= std::uint64_t{1} << 23;
    }
  }
  return false;
}

// A magnitude after rounding with no upper limit: quanta 2^exponent, and its place among the codes.
struct Rounded {
  std::uint64_t quanta = 0;
  int exponent = 0;
  std::int64_t code = 0;  // past format.max_code(): overflow
};

// x finite and not zero.
constexpr Rounded round_magnitude(const Format& format, double x, Rounding rounding,
                                  std::uint32_t random) {
  const auto bits = std::bit_cast<std::uint64_t>(x);
  const bool negative = (bits >> 63) != 0;
  std::uint64_t significand = bits & ((std::uint64_t{1} << 52) - 1);
  int exponent = static_cast<int>((bits >> 52) & 0x7FF);  // of the significand's lowest bit, below
  if (exponent == 0) {
    const int lead = std::countl_zero(significand) - 11;
    significand <<= lead;
    exponent = -1074 - lead;
  } else {
    significand |= std::uint64_t{1} << 52;
    exponent -= 1075;
  }
  const int binade = exponent + 52;
  const bool below_normal = binade < format.min_exponent();
  Rounded rounded;
  rounded.exponent = (below_normal ? format.min_exponent() : binade) - format.mantissa_bits;
  if (below_normal && !format.has_subnormals) rounded.exponent = format.min_exponent();
  const int shift = rounded.exponent - exponent;  // at least 52 - 23
  assert(shift > 0);
  std::uint64_t remainder = significand;
  if (shift < 64) {
    rounded.quanta = significand >> shift;
    remainder = significand & ((std::uint64_t{1} << shift) - 1);
  }
  if (remainder != 0 && rounds_up(rounding, negative, rounded.quanta, remainder, shift, random))
    ++rounded.quanta;
  const auto quanta = static_cast<std::int64_t>(rounded.quanta);
  if (below_normal && !format.has_subnormals) {
    // Zero or the smallest normal number; where there is no zero, the smallest is what is left.
    if (!format.has_zero()) rounded.quanta = 1;
    rounded.code = format.has_zero() ? quanta << format.mantissa_bits : 0;
    return rounded;
  }
  // A carry into the next binade, and from the subnormals into the normal numbers, is the same
  // addition.
  const std::int64_t field = rounded.exponent + format.mantissa_bits + format.bias;
  rounded.code = ((field - 1) << format.mantissa_bits) + quanta;
  return rounded;
}

constexpr std::uint32_t random_for(const CastOptions& options, std::uint64_t index) {
  return options.rounding == Rounding::stochastic
             ? random_word(options.seed, options.first_index + index)
             : 0;
}

// The code of a value past the largest finite one.
constexpr std::uint32_t overflow_code(const Format& format, bool negative, bool infinite,
                                      const CastOptions& options) {
  const std::uint32_t sign = negative ? format.sign_mask() : 0;
  const bool inward = !infinite && (options.rounding == Rounding::toward_zero ||
                                    (options.rounding == Rounding::up && negative) ||
                                    (options.rounding == Rounding::down && !negative));
  if (options.overflow == Overflow::saturate || inward) return format.max_code() | sign;
  if (format.has_infinity) return format.infinity_code() | sign;
  if (format.nan == NanCodes::none) return format.max_code() | sign;
  return format.nan == NanCodes::all_ones ? format.nan_code() | sign : format.nan_code();
}

// The code that NaN becomes.
constexpr std::uint32_t nan_result(const Format& format, bool negative) {
  if (format.nan == NanCodes::none) return format.max_code();
  const bool signed_nan = format.nan != NanCodes::negative_zero && negative;
  return format.nan_code() | (signed_nan ? format.sign_mask() : 0);
}

}  // namespace detail

// The code of x. NaN becomes the format's quiet NaN with the sign kept where it has one, or, where
// the format has no NaN, +max. -0 becomes +0 where the format has no -0. A format without sign and
// zero (E8M0): saturating casts drop the sign and lift zero to the smallest value, others give NaN.
constexpr std::uint32_t encode(const Format& format, double x, const CastOptions& options,
                               std::uint64_t index = 0) {
  const bool negative = (std::bit_cast<std::uint64_t>(x) >> 63) != 0;
  const std::uint32_t sign = negative ? format.sign_mask() : 0;
  if (x != x) return detail::nan_result(format, negative);
  if (!format.has_sign && options.overflow == Overflow::non_saturating && (negative || x == 0))
    return format.nan_code();
  if (x == 0) return format.has_negative_zero() ? sign : 0;
  const double infinity = std::numeric_limits<double>::infinity();
  if (x == infinity || x == -infinity)
    return detail::overflow_code(format, negative, true, options);
  const detail::Rounded rounded =
      detail::round_magnitude(format, x, options.rounding, detail::random_for(options, index));
  if (rounded.code > std::int64_t{format.max_code()})
    return detail::overflow_code(format, negative, false, options);
  const auto code = static_cast<std::uint32_t>(rounded.code);
  return code == 0 && !format.has_negative_zero() ? 0 : code | sign;
}

// Whether the rounding of x, with no upper limit on the exponent, lies past the largest finite
// value; infinities do, NaN does not.
constexpr bool overflows(const Format& format, double x, const CastOptions& options,
                         std::uint64_t index = 0) {
  const double magnitude = x < 0 ? -x : x;
  if (!(magnitude > format.max_finite())) return false;
  if (magnitude > std::numeric_limits<double>::max()) return true;
  return detail::round_magnitude(format, x, options.rounding, detail::random_for(options, index))
             .code > std::int64_t{format.max_code()};
}

// decode(encode(x)), without making the code where none is needed.
constexpr double round_to(const Format& format, double x, const CastOptions& options,
                          std::uint64_t index = 0) {
  const double magnitude = x < 0 ? -x : x;
  if (!(magnitude > 0) || magnitude > std::numeric_limits<double>::max() || !format.has_sign)
    return decode(format, encode(format, x, options, index));
  const detail::Rounded rounded =
      detail::round_magnitude(format, x, options.rounding, detail::random_for(options, index));
  if (rounded.code > std::int64_t{format.max_code()})
    return decode(format, detail::overflow_code(format, x < 0, false, options));
  const double value = static_cast<double>(rounded.quanta) * power_of_two(rounded.exponent);
  return x < 0 && (rounded.quanta != 0 || format.has_negative_zero()) ? -value : value;
}

}  // namespace ullage::formats
