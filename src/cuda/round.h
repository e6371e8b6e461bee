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

// How codes follow from FP32's bits: prefix and small as in KernelShape; nearest: small formats, ties to even; pairs: the
// same from BF16, two numbers at a time (round_bf16.h).
enum class Body { prefix, nearest, small, pairs };

constexpr std::uint32_t kSign = 0x80000000;
constexpr std::uint32_t kMagnitude = 0x7FFFFFFF;
constexpr std::uint32_t kInfinity = 0x7F800000;
constexpr std::uint32_t kQuietNan = 0x7FC00000;
constexpr std::uint32_t kNearestCode = 0x7FFFFF;  // where round_nearest leaves the code
constexpr float kTwoTo23 = 8388608.0F;

ULLAGE_BOTH std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
ULLAGE_BOTH float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }
ULLAGE_BOTH float magnitude_of(float x) { return std::fabs(x); }

// a + b cut towards zero; neither is negative.
ULLAGE_BOTH float add_toward_zero(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fadd_rz(a, b);
#else
  const double sum = formats::sum_to_odd(a, b);
  const auto near = static_cast<float>(sum);
  return static_cast<double>(near) > sum ? float_of(bits_of(near) - 1) : near;
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

// 2^23 + the units of the last place after a stochastic carry. Sums cut towards zero keep their whole part.
ULLAGE_BOTH float carry_stochastic(float units, std::uint32_t random) {
  const float one_to_two = float_of(random >> 9 | 0x3F800000);
  return add_toward_zero(add_toward_zero(units, one_to_two), kTwoTo23 - 1);
}

// The same where a fraction past its sign's threshold rounds away from zero.
ULLAGE_BOTH float carry_directed(float units, std::uint32_t bits, const CastParameters& p) {
  const float whole = add_toward_zero(units, kTwoTo23);
  const float fraction = units - (whole - kTwoTo23);
  const std::uint32_t threshold = (bits & kSign) != 0 ? p.threshold_negative : p.threshold_positive;
  return bits_of(fraction) > threshold ? whole + 1 : whole;
}

// Code and value of a magnitude; `bits` has the sign.
template <bool kStochastic>
ULLAGE_BOTH Coded round_small(std::uint32_t magnitude, std::uint32_t bits, std::uint32_t random,
                              const CastParameters& p) {
  const std::uint32_t exponent = binade(magnitude, p);
  const float units = float_of(magnitude) * float_of(p.inverse_unit - exponent);
  const float significand =
      kStochastic ? carry_stochastic(units, random) : carry_directed(units, bits, p);
  const std::uint32_t base = (exponent >> p.mantissa_shift) - p.base;
  const std::uint32_t unit = exponent - (static_cast<std::uint32_t>(p.mantissa_bits) << 23);
  return {bits_of(significand) + base, (significand - kTwoTo23) * float_of(unit)};
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
  else
    found = round_small<kStochastic>(capped, bits, random, p);
  if constexpr (kBody == Body::nearest) found.code &= kNearestCode;
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

// Elements of a thread's turn: of 64 consecutive ones, those at 16 w + 4 q + l for w, l = 0..3 as [4 w + l], q being
// the thread. So their random words are those of four blocks of Philox (random.h), and the running sums that their
// errors join are the same four in every turn.
inline constexpr int kTurn = 16;

// Sixteen elements, one after the other, by cast_exactly(): `codes` one a word, or with values_of the FP32 values that
// that format's codes stand for.
template <Body kBody, bool kStochastic>
#if defined(__CUDACC__)
__host__ __device__ __noinline__
#else
inline
#endif
    void
    cast_turn_exactly(const float* x, const std::uint32_t* random, const CastParameters& p,
                      const formats::Format* values_of, std::uint32_t* codes, float* errors,
                      Tally& tally) {
#if defined(__CUDA_ARCH__)
#pragma unroll 1
#endif
  for (int i = 0; i < kTurn; ++i) {
    const Coded found =
        cast_exactly<kBody, kStochastic>(x[i], kStochastic ? random[i] : 0, p, tally);
    codes[i] = values_of == nullptr ? found.code : bits_of(value_of(*values_of, found.code));
    errors[i] = found.value;
  }
}

// Where bytes or halves of a word are not zero, their upper bit. Theirs is clear.
template <int kBytes>
ULLAGE_BOTH std::uint32_t not_zero(std::uint32_t codes) {
  return kBytes == 1 ? (codes + 0x7F7F7F7F) & 0x80808080 : (codes + 0x7FFF7FFF) & 0x80008000;
}

// Four codes without sign (prefixes: with it) as they lie in memory, in kBytes words, with the signs of x.
// `flags` loses the upper bits of the places whose code is zero.
template <Body kBody, int kBytes>
ULLAGE_BOTH void pack(const Coded* found, const float* x, const CastParameters& p,
                      std::uint32_t* words, std::uint32_t& flags) {
  if constexpr (kBytes == 1) {
    const std::uint32_t codes = pair_of_halves(pair_of_bytes(found[0].code, found[1].code, 0),
                                               pair_of_bytes(found[2].code, found[3].code, 0), 0);
    std::uint32_t signs = pair_of_halves(pair_of_bytes(bits_of(x[0]), bits_of(x[1]), 3),
                                         pair_of_bytes(bits_of(x[2]), bits_of(x[3]), 3), 0);
    const std::uint32_t there = not_zero<1>(codes);
    signs &= p.drops_negative_zero ? there : 0x80808080;
    flags &= there;
    words[0] = codes | signs >> (p.sign_shift - 24);
  } else if constexpr (kBytes == 2) {
    for (int half = 0; half < 2; ++half) {
      const Coded* two = found + 2 * half;
      std::uint32_t codes = pair_of_halves(two[0].code, two[1].code, 0);
      const std::uint32_t mask = p.sign_mask - 1;
      const std::uint32_t there =
          not_zero<2>(kBody == Body::prefix ? codes & (mask << 16 | mask) : codes);
      flags &= there;
      if constexpr (kBody != Body::prefix) {
        const std::uint32_t signs =
            pair_of_halves(bits_of(x[2 * half]), bits_of(x[2 * half + 1]), 1) &
            (p.drops_negative_zero ? there : 0x80008000);
        codes |= signs >> (p.sign_shift - 16);
      }
      words[half] = codes;
    }
  } else {
    for (int i = 0; i < 4; ++i) {
      std::uint32_t code = found[i].code;
      if constexpr (kBody == Body::nearest) code &= kNearestCode;
      const bool zero = (kBody == Body::prefix ? code & (p.sign_mask - 1) : code) == 0;
      if (zero) flags = 0;
      if constexpr (kBody != Body::prefix)
        code = zero && p.drops_negative_zero ? 0
                                             : code | (bits_of(x[i]) >> p.sign_shift & p.sign_mask);
      words[i] = code;
    }
  }
}

// The short way: sixteen numbers none of which overflows. pairs[4 g + l]: the errors of rows 2 g and 2 g + 1 added.
template <Body kBody, int kBytes, bool kStochastic>
ULLAGE_BOTH void cast_turn_shortly(const float (&x)[kTurn], const std::uint32_t (&random)[kTurn],
                                   const CastParameters& p, bool values,
                                   std::uint32_t (&words)[4 * kBytes], float (&pairs)[8],
                                   Tally& tally) {
  std::uint32_t flags = 0xFFFFFFFF;
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
  for (int row = 0; row < 4; ++row) {
    Coded found[4];
    for (int l = 0; l < 4; ++l) {
      const int i = 4 * row + l;
      const std::uint32_t bits = bits_of(x[i]);
      if constexpr (kBody == Body::prefix) {  // takes the sign along: nothing here carries into it
        found[l] = round_prefix<kStochastic>(bits, bits, random[i], p);
      } else if constexpr (kBody == Body::nearest) {
        found[l] = round_nearest(bits, p);
      } else {
        found[l] = round_small<kStochastic>(bits & kMagnitude, bits, random[i], p);
        found[l].value = float_of(bits_of(found[l].value) | (bits & kSign));
      }
      const float error = found[l].value - x[i];
      float& pair = pairs[row / 2 * 4 + l];
      pair = row % 2 == 0 ? error : pair + error;
    }
    pack<kBody, kBytes>(found, &x[4 * row], p, &words[row * kBytes], flags);
    if constexpr (kBytes == 4)
      if (values)
        for (int l = 0; l < 4; ++l) {
          const std::uint32_t magnitude = bits_of(found[l].value) & kMagnitude;
          const std::uint32_t sign = bits_of(x[4 * row + l]) & kSign;
          words[4 * row + l] = magnitude == 0 && p.drops_negative_zero ? 0 : magnitude | sign;
        }
  }
  constexpr std::uint32_t kAll = kBytes == 1 ? 0x80808080 : kBytes == 2 ? 0x80008000 : 0xFFFFFFFF;
  if ((flags & kAll) == kAll) return;
  // Some code is zero. It was flushed unless its input is zero, which few are.
  float least = magnitude_of(x[0]);
  std::uint32_t zeros = 0;
  for (int i = 0; i < kTurn; ++i) least = magnitude_of(x[i]) < least ? magnitude_of(x[i]) : least;
  for (int i = 0; i < 4 * kBytes; ++i) {
    if constexpr (kBytes == 4) {
      const std::uint32_t mask = values ? kMagnitude : p.sign_mask - 1;
      zeros += (words[i] & mask) == 0 ? 1 : 0;
    } else {
      const std::uint32_t mask = p.sign_mask - 1;
      const std::uint32_t codes = words[i] & (kBytes == 1 ? mask * 0x01010101 : mask * 0x00010001);
      zeros += 4 / kBytes - static_cast<std::uint32_t>(ones_in(not_zero<kBytes>(codes)));
    }
  }
  if (least == 0)
    for (int i = 0; i < kTurn; ++i) zeros -= x[i] == 0 ? 1 : 0;
  tally.flushed += zeros;
}

// The long way, for turns in which something overflows or is NaN.
template <Body kBody, bool kStochastic, int kBytes>
ULLAGE_BOTH void cast_turn_at_length(const float (&x)[kTurn], const std::uint32_t (&random)[kTurn],
                                     const formats::Format& to, const CastParameters& p,
                                     bool values, bool one_nan, std::uint32_t (&words)[4 * kBytes],
                                     float (&pairs)[8], Tally& tally) {
  // Copies, so that only they, which are indexed by a variable, lie in memory.
  float inputs[kTurn];
  std::uint32_t random_words[kTurn];
  std::uint32_t codes[kTurn];
  float errors[kTurn];
  for (int i = 0; i < kTurn; ++i) {
    inputs[i] = one_nan && x[i] != x[i] ? float_of(kQuietNan) : x[i];
    if constexpr (kStochastic) random_words[i] = random[i];
  }
  Tally found = tally;
  cast_turn_exactly<kBody, kStochastic>(inputs, random_words, p, values ? &to : nullptr, codes,
                                        errors, found);
  tally = found;
  for (int i = 0; i < 4 * kBytes; ++i) {
    if constexpr (kBytes == 1)
      words[i] =
          codes[4 * i] | codes[4 * i + 1] << 8 | codes[4 * i + 2] << 16 | codes[4 * i + 3] << 24;
    else if constexpr (kBytes == 2)
      words[i] = codes[2 * i] | codes[2 * i + 1] << 16;
    else
      words[i] = codes[i];
  }
  for (int g = 0; g < 2; ++g)
    for (int l = 0; l < 4; ++l) pairs[4 * g + l] = errors[8 * g + l] + errors[8 * g + 4 + l];
}

// One turn of a thread: `words` are its codes as they lie in memory, [row][kBytes words], or with `values` (of four
// bytes only) what the codes stand for. one_nan: the source's NaN have no sign. random: read by stochastic casts only.
template <Body kBody, bool kStochastic, int kBytes>
ULLAGE_BOTH void cast_turn(const float (&x)[kTurn], const std::uint32_t (&random)[kTurn],
                           const formats::Format& to, const CastParameters& p, bool values,
                           bool one_nan, std::uint32_t (&words)[4 * kBytes], float (&pairs)[8],
                           Tally& tally) {
  // By halves: one after the other, each would wait for the one before.
  float largest_of[kTurn];
  for (int i = 0; i < kTurn; ++i) largest_of[i] = magnitude_of(x[i]);
  for (int half = kTurn / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i)
      largest_of[i] = largest_or_nan(largest_of[i], largest_of[i + half]);
  const float largest = largest_of[0];
  if (largest <= float_of(p.safe)) {
    tally.largest = largest > tally.largest ? largest : tally.largest;
    cast_turn_shortly<kBody, kBytes, kStochastic>(x, random, p, values, words, pairs, tally);
    return;
  }
  cast_turn_at_length<kBody, kStochastic, kBytes>(x, random, to, p, values, one_nan, words, pairs,
                                                  tally);
}

}  // namespace ullage::cuda
