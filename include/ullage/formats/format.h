// Number formats as data: one card each, and any format a user defines.
//
// A code is an unsigned integer of `bits()` bits: sign (where there is one), exponent field,
// mantissa field. Nothing here rounds: that is scalar.h (one number) and cast.h (arrays).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ullage/base/result.h"

namespace ullage::formats {

// 2^exponent for -1022 <= exponent <= 1023.
constexpr double power_of_two(int exponent) {
  return std::bit_cast<double>(static_cast<std::uint64_t>(exponent + 1023) << 52);
}

// Which codes are NaN.
enum class NanCodes : std::uint8_t {
  none,           // every code is a number (FP4 and FP6 of OCP MX)
  ieee,           // exponent field all ones, mantissa not zero (mantissa zero is infinity)
  all_ones,       // exponent and mantissa all ones, either sign (OCP E4M3, E8M0)
  negative_zero,  // the code that would be -0, which the format then lacks ("uz" formats)
};

struct Format {
  char name[16] = {};
  int exponent_bits = 0;
  int mantissa_bits = 0;  // stored; the significand has one more
  int bias = 0;  // value of exponent field e, mantissa m: 2^(e - bias) (1 + m / 2^mantissa_bits)
  NanCodes nan = NanCodes::ieee;
  bool has_infinity = true;  // ieee: mantissa zero; else the largest magnitude code that is no NaN
  bool has_subnormals = true;  // without: exponent field 0 is zero whatever the mantissa
  // Without sign there is no zero either: exponent field 0 is a normal number (E8M0).
  bool has_sign = true;

  friend constexpr bool operator==(const Format&, const Format&) = default;

  [[nodiscard]] constexpr std::string_view label() const { return name; }
  [[nodiscard]] constexpr bool has_zero() const { return has_sign; }
  [[nodiscard]] constexpr bool has_negative_zero() const {
    return has_sign && nan != NanCodes::negative_zero;
  }

  [[nodiscard]] constexpr int magnitude_bits() const { return exponent_bits + mantissa_bits; }
  [[nodiscard]] constexpr int bits() const { return magnitude_bits() + (has_sign ? 1 : 0); }
  // Bytes of one element in memory: codes lie in the low bits of 1, 2 or 4 bytes.
  [[nodiscard]] constexpr std::size_t bytes() const {
    return bits() <= 8 ? 1U : bits() <= 16 ? 2U : 4U;
  }
  [[nodiscard]] constexpr std::uint64_t code_count() const { return std::uint64_t{1} << bits(); }

  [[nodiscard]] constexpr std::uint32_t sign_mask() const {
    return has_sign ? std::uint32_t{1} << magnitude_bits() : 0U;
  }
  [[nodiscard]] constexpr std::uint32_t magnitude_mask() const {
    return static_cast<std::uint32_t>((std::uint64_t{1} << magnitude_bits()) - 1);
  }
  [[nodiscard]] constexpr std::uint32_t mantissa_mask() const {
    return (std::uint32_t{1} << mantissa_bits) - 1;
  }

  // Code of +infinity; only where has_infinity.
  [[nodiscard]] constexpr std::uint32_t infinity_code() const {
    if (nan == NanCodes::ieee) return magnitude_mask() & ~mantissa_mask();
    return magnitude_mask() - (nan == NanCodes::all_ones ? 1U : 0U);
  }
  // Code of the largest finite value.
  [[nodiscard]] constexpr std::uint32_t max_code() const {
    if (has_infinity) return infinity_code() - 1;
    return magnitude_mask() - (nan == NanCodes::all_ones ? 1U : 0U);
  }
  // The quiet NaN that casts write, of positive sign where it has one; only where nan != none.
  [[nodiscard]] constexpr std::uint32_t nan_code() const {
    if (nan == NanCodes::negative_zero) return sign_mask();
    if (nan == NanCodes::all_ones) return magnitude_mask();
    return infinity_code() | std::uint32_t{1} << (mantissa_bits - 1);
  }
  [[nodiscard]] constexpr bool is_nan(std::uint32_t code) const {
    switch (nan) {
      case NanCodes::none:
        return false;
      case NanCodes::ieee:
        return (code & magnitude_mask()) > infinity_code();
      case NanCodes::all_ones:
        return (code & magnitude_mask()) == magnitude_mask();
      case NanCodes::negative_zero:
        return (code & (sign_mask() | magnitude_mask())) == sign_mask();
    }
    return false;
  }
  [[nodiscard]] constexpr bool is_infinite(std::uint32_t code) const {
    return has_infinity && (code & magnitude_mask()) == infinity_code();
  }

  // Exponent of the smallest normal number, and of the distance between numbers below it.
  [[nodiscard]] constexpr int min_exponent() const { return has_zero() ? 1 - bias : -bias; }
  [[nodiscard]] constexpr int quantum_exponent() const { return min_exponent() - mantissa_bits; }
  // Exponent of the binade that holds max_finite().
  [[nodiscard]] constexpr int max_exponent() const {
    const int field = static_cast<int>(max_code() >> mantissa_bits);
    return (field == 0 && has_zero() ? 1 : field) - bias;
  }

  [[nodiscard]] constexpr double max_finite() const {
    const std::uint32_t code = max_code();
    const double fraction =
        static_cast<double>(code & mantissa_mask()) * power_of_two(-mantissa_bits);
    const double one = (code >> mantissa_bits) != 0 || !has_zero() ? 1.0 : 0.0;
    return (one + fraction) * power_of_two(max_exponent());
  }
  [[nodiscard]] constexpr double min_normal() const { return power_of_two(min_exponent()); }
  // Smallest positive value: below min_normal() where there are subnormals.
  [[nodiscard]] constexpr double min_subnormal() const {
    return has_subnormals && has_zero() ? power_of_two(quantum_exponent()) : min_normal();
  }
  // Largest relative error of rounding to nearest in the normal range: half the distance from 1 to
  // the next number. (Some authors call the whole distance epsilon; it is twice this.)
  [[nodiscard]] constexpr double unit_roundoff() const { return power_of_two(-mantissa_bits - 1); }
};

// OCP OFP8 1.0: E4M3 has no infinity and one NaN a sign; E5M2 follows IEEE 754.
inline constexpr Format kE4M3 = {.name = "e4m3",
                                 .exponent_bits = 4,
                                 .mantissa_bits = 3,
                                 .bias = 7,
                                 .nan = NanCodes::all_ones,
                                 .has_infinity = false};
inline constexpr Format kE5M2 = {
    .name = "e5m2", .exponent_bits = 5, .mantissa_bits = 2, .bias = 15};
// AMD MI300 and Graphcore: no infinity, no -0 (its code is the NaN), bias one larger.
inline constexpr Format kE4M3Fnuz = {.name = "e4m3fnuz",
                                     .exponent_bits = 4,
                                     .mantissa_bits = 3,
                                     .bias = 8,
                                     .nan = NanCodes::negative_zero,
                                     .has_infinity = false};
inline constexpr Format kE5M2Fnuz = {.name = "e5m2fnuz",
                                     .exponent_bits = 5,
                                     .mantissa_bits = 2,
                                     .bias = 16,
                                     .nan = NanCodes::negative_zero,
                                     .has_infinity = false};
// OCP MX 1.0: the scale format, powers of two alone, and the element formats, in which every code
// is finite.
inline constexpr Format kE8M0 = {.name = "e8m0",
                                 .exponent_bits = 8,
                                 .mantissa_bits = 0,
                                 .bias = 127,
                                 .nan = NanCodes::all_ones,
                                 .has_infinity = false,
                                 .has_subnormals = false,
                                 .has_sign = false};
inline constexpr Format kE2M1 = {.name = "e2m1",
                                 .exponent_bits = 2,
                                 .mantissa_bits = 1,
                                 .bias = 1,
                                 .nan = NanCodes::none,
                                 .has_infinity = false};
inline constexpr Format kE2M3 = {.name = "e2m3",
                                 .exponent_bits = 2,
                                 .mantissa_bits = 3,
                                 .bias = 1,
                                 .nan = NanCodes::none,
                                 .has_infinity = false};
inline constexpr Format kE3M2 = {.name = "e3m2",
                                 .exponent_bits = 3,
                                 .mantissa_bits = 2,
                                 .bias = 3,
                                 .nan = NanCodes::none,
                                 .has_infinity = false};
// IEEE 754 binary16 and binary32; BF16 and TF32 shorten binary32's mantissa. A TF32 code has 19
// bits.
inline constexpr Format kFp16 = {
    .name = "fp16", .exponent_bits = 5, .mantissa_bits = 10, .bias = 15};
inline constexpr Format kBf16 = {
    .name = "bf16", .exponent_bits = 8, .mantissa_bits = 7, .bias = 127};
inline constexpr Format kTf32 = {
    .name = "tf32", .exponent_bits = 8, .mantissa_bits = 10, .bias = 127};
inline constexpr Format kFp32 = {
    .name = "fp32", .exponent_bits = 8, .mantissa_bits = 23, .bias = 127};

inline constexpr std::array kFormats = {kE4M3, kE4M3Fnuz, kE5M2, kE5M2Fnuz, kE8M0, kE2M1,
                                        kE2M3, kE3M2,     kFp16, kBf16,     kTf32, kFp32};

// The card of that name; usage for another, with the names.
Result<Format> find_format(std::string_view name);

// A card's name, or else eXmY, an IEEE format with the usual bias 2^(X-1) - 1; after a colon what differs from
// that, as in "e3m4:bias=3,nan=all-ones,infinity=no,subnormals=no" and "e4m3:subnormals=no", the card but for its
// subnormals. nan is ieee, all-ones, negative-zero or none; with it, infinity is no unless it is ieee. Codes: usage for
// what cannot be read, value_invalid as check_format.
Result<Format> format_from_text(std::string_view text);

// Refuses (value_invalid) a card that no code of this library can hold: 1 to 8 exponent bits, 0 to 23 mantissa
// bits, codes left over for NaN and infinity beside at least one positive number, a bias under which
// FP32 holds every value (so every product of two is exact in FP64).
Status check_format(const Format& format);

}  // namespace ullage::formats
