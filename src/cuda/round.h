// FP32 numbers to codes with their errors: the arithmetic of one thread of a cast, the same on host and device, so that
// tests run it without a GPU. The rules and their proofs are those of the CPU's kernels (formats), whose bits these are.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "ullage/formats/arithmetic.h"
#include "ullage/formats/cast_parameters.h"

#if defined(__CUDACC__)
#define ULLAGE_BOTH __host__ __device__ __forceinline__
#else
#define ULLAGE_BOTH inline
#endif

namespace ullage::cuda {

using formats::CastParameters;

// How codes follow from FP32's bits: prefix and small as in KernelShape; nearest: small formats, ties to even;
// nearest_pairs and small_pairs: the same from BF16, two numbers at a time (round_bf16.h).
enum class Body { prefix, nearest, small, nearest_pairs, small_pairs };

constexpr std::uint32_t kSign = 0x80000000;
constexpr std::uint32_t kMagnitude = 0x7FFFFFFF;
constexpr std::uint32_t kInfinity = 0x7F800000;
constexpr std::uint32_t kQuietNan = 0x7FC00000;
constexpr std::uint32_t kOne = 0x3F800000;
constexpr std::uint32_t kCode = 0x7FFFFF;  // where roundings of small formats leave the code
constexpr float kTwoTo23 = 8388608.0F;

ULLAGE_BOTH std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
ULLAGE_BOTH float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }
ULLAGE_BOTH float magnitude_of(float x) { return std::fabs(x); }

// a b + c, the product exact, cut towards zero, or rounded up.
ULLAGE_BOTH float add_toward_zero(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fmaf_rz(a, b, c);
#else
  const double sum =
      formats::sum_to_odd(static_cast<double>(a) * static_cast<double>(b), static_cast<double>(c));
  const auto near = static_cast<float>(sum);
  return std::fabs(static_cast<double>(near)) > std::fabs(sum) ? float_of(bits_of(near) - 1) : near;
#endif
}
ULLAGE_BOTH float add_upward(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fmaf_ru(a, b, c);
#else
  const double sum =
      formats::sum_to_odd(static_cast<double>(a) * static_cast<double>(b), static_cast<double>(c));
  const auto near = static_cast<float>(sum);
  return static_cast<double>(near) < sum ? std::nextafter(near, INFINITY) : near;
#endif
}

// The larger; NaN where one is NaN.
ULLAGE_BOTH float largest_or_nan(float a, float b) {
#if defined(__CUDA_ARCH__)
  float larger;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(larger) : "f"(a), "f"(b));
  return larger;
#else
  return a != a || b != b ? float_of(kQuietNan) : a < b ? b : a;
#endif
}

// The byte, or half, number `place` of a and of b, in the low half, or as the two halves, of a word.
ULLAGE_BOTH std::uint32_t pair_of_bytes(std::uint32_t a, std::uint32_t b, int place) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(a, b, static_cast<unsigned>(place | (place + 4) << 4));
#else
  return ((a >> (8 * place)) & 0xFF) | ((b >> (8 * place)) & 0xFF) << 8;
#endif
}
ULLAGE_BOTH std::uint32_t pair_of_halves(std::uint32_t a, std::uint32_t b, int place) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(a, b, place == 0 ? 0x5410 : 0x7632);
#else
  return ((a >> (16 * place)) & 0xFFFF) | (b >> (16 * place)) << 16;
#endif
}
// Of the four bytes of a and then the four of b, those at even places, and those at odd ones.
ULLAGE_BOTH std::uint32_t even_bytes(std::uint32_t a, std::uint32_t b) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(a, b, 0x6420);
#else
  return (a & 0xFF) | (a >> 8 & 0xFF00) | (b & 0xFF) << 16 | (b << 8 & 0xFF000000);
#endif
}
ULLAGE_BOTH std::uint32_t odd_bytes(std::uint32_t a, std::uint32_t b) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(a, b, 0x7531);
#else
  return even_bytes(a >> 8, b >> 8);
#endif
}
// sum + the four bytes of `bytes`.
ULLAGE_BOTH std::uint32_t add_bytes(std::uint32_t bytes, std::uint32_t sum) {
#if defined(__CUDA_ARCH__)
  return __dp4a(bytes, 0x01010101U, sum);
#else
  for (int place = 0; place < 4; ++place) sum += bytes >> (8 * place) & 0xFF;
  return sum;
#endif
}

ULLAGE_BOTH int ones_in(std::uint32_t word) {
#if defined(__CUDA_ARCH__)
  return __popc(word);
#else
  return std::popcount(word);
#endif
}

// Exact, with the CPU's NaN: conversions on the GPU have another.
ULLAGE_BOTH float value_of(const formats::Format& format, std::uint32_t code) {
  return format.is_nan(code) ? float_of(kQuietNan)
                             : static_cast<float>(formats::decode(format, code));
}

// A code, and the value that it stands for.
struct Coded {
  std::uint32_t code;
  float value;
};

// The power of two of each number's binade; below the smallest normal number it stays there.
ULLAGE_BOTH std::uint32_t binade(std::uint32_t bits, const CastParameters& p) {
  const std::uint32_t exponent = bits & kInfinity;
  return exponent > p.least ? exponent : p.least;
}

// The sum with the magic number has the format's last place, so the addition rounds; its low 23 bits are the code. The
// value has its sign, but for zero.
ULLAGE_BOTH Coded round_nearest(std::uint32_t bits, const CastParameters& p) {
  const std::uint32_t exponent = binade(bits, p);
  const float magic =
      float_of((exponent + (exponent >> p.mantissa_shift) + p.magic) | (bits & kSign));
  const float sum = float_of(bits) + magic;
  return {bits_of(sum), sum - magic};
}

// How a number leaves its place between two codes: by a share of the last place that is added to it before it is cut,
// drawn or the same for all (a half: ties away from zero; none: toward zero); or to the code above it.
enum class Carry { drawn, share, upward };

// One and the multiple of 2^-23 below one that a word stands for.
ULLAGE_BOTH float one_and_share(std::uint32_t random) {
  return float_of((random >> 9) + kOne);  // a sum: one instruction with the shift
}

// Of a number's binade its last place, with the number's sign, and the code of the binade's first number less that
// number's units (in the low 23 bits).
struct Place {
  float unit;
  std::uint32_t base;
};
ULLAGE_BOTH Place place_of(std::uint32_t bits, const CastParameters& p) {
  const std::uint32_t exponent = binade(bits, p);
  const std::uint32_t unit = exponent - (static_cast<std::uint32_t>(p.mantissa_bits) << 23);
  return {float_of(unit | (bits & kSign)), (exponent >> p.mantissa_shift) - p.base};
}

// x as 2^23 + n units, n whole, times its sign. A number, a unit and its share may lose bits in their sum, but not its
// whole part: multiples of the unit are FP32 numbers, and cutting passes none. The unit is taken back.
template <Carry kCarry>
ULLAGE_BOTH float in_units(float x, float unit, std::uint32_t random, const CastParameters& p) {
  if constexpr (kCarry == Carry::upward) return add_upward(unit, kTwoTo23, x);
  float share = p.threshold_positive < kOne ? 1.5F : 1.0F;  // a half's threshold, or never
  if constexpr (kCarry == Carry::drawn) share = one_and_share(random);
  return add_toward_zero(unit, kTwoTo23 - 1, add_toward_zero(unit, share, x));
}

// Whether one sign alone goes away from zero: up or down.
ULLAGE_BOTH bool goes_upward(const CastParameters& p) {
  return p.threshold_positive != p.threshold_negative;
}

// Code (in the low 23 bits) and value of a number; the value has its sign, but for zero. Down is up of the other sign.
template <Carry kCarry>
ULLAGE_BOTH Coded round_small(std::uint32_t bits, std::uint32_t random, const CastParameters& p) {
  std::uint32_t other = 0;
  if constexpr (kCarry == Carry::upward) other = p.threshold_positive == 0 ? 0 : kSign;
  const float x = float_of(bits ^ other);
  const Place place = place_of(bits ^ other, p);
  const float sum = in_units<kCarry>(x, place.unit, random, p);
  const float value = add_toward_zero(place.unit, -kTwoTo23, sum);  // exact
  return {bits_of(sum) + place.base, float_of(bits_of(value) ^ other)};
}

// Code and value of FP32's own bits, with their sign or without it; `signed_bits` has it.
template <bool kStochastic>
ULLAGE_BOTH Coded round_prefix(std::uint32_t bits, std::uint32_t signed_bits, std::uint32_t random,
                               const CastParameters& p) {
  std::uint32_t add = 0;
  if constexpr (kStochastic) {
    add = random >> 1 >> (31 - p.mantissa_shift);
  } else {
    add = (signed_bits & kSign) != 0 ? p.addend_negative : p.addend_positive;
    add += bits >> p.mantissa_shift & p.addend_odd;
  }
  const std::uint32_t sum = bits + add;
  return {sum >> p.mantissa_shift, float_of(sum & p.kept)};
}

// What a thread met.
struct Tally {
  std::uint32_t nan = 0;
  std::uint32_t saturated = 0;
  std::uint32_t flushed = 0;
  float largest = 0;
};

// Any number's code with its sign, and its error: 0 for NaN and where the rounding lies past the largest value.
template <Body kBody, bool kStochastic>
ULLAGE_BOTH Coded cast_exactly(float x, std::uint32_t random, const CastParameters& p,
                               Tally& tally) {
  const std::uint32_t bits = bits_of(x);
  const std::uint32_t magnitude = bits & kMagnitude;
  const bool negative = bits != magnitude;
  const std::uint32_t capped = magnitude < p.cap ? magnitude : p.cap;
  Coded found;
  if constexpr (kBody == Body::prefix)
    found = round_prefix<kStochastic>(magnitude, bits, random, p);
  else if constexpr (kBody == Body::nearest)
    found = round_nearest(capped, p);
  else if (kStochastic)
    found = round_small<Carry::drawn>(capped | (bits & kSign), random, p);
  else if (goes_upward(p))
    found = round_small<Carry::upward>(capped | (bits & kSign), 0, p);
  else
    found = round_small<Carry::share>(capped | (bits & kSign), 0, p);
  if constexpr (kBody != Body::prefix) found.code &= kCode;
  const bool nan = magnitude > kInfinity;
  const bool over = nan || found.code > p.max_code;
  const bool zero = found.code == 0;
  tally.nan += nan ? 1 : 0;
  tally.saturated += over && !nan ? 1 : 0;
  tally.flushed += zero && magnitude != 0 ? 1 : 0;
  if (!nan && float_of(magnitude) > tally.largest) tally.largest = float_of(magnitude);
  const float value = float_of(bits_of(found.value) | (bits & kSign));
  if (nan) return {negative ? p.nan_negative : p.nan_positive, 0};
  if (over && magnitude == kInfinity)
    return {negative ? p.infinity_negative : p.infinity_positive, 0};
  if (over) return {negative ? p.overflow_negative : p.overflow_positive, 0};
  const std::uint32_t sign = bits >> p.sign_shift & p.sign_mask;
  return {zero && p.drops_negative_zero ? 0 : found.code | sign, value - x};
}

}  // namespace ullage::cuda
