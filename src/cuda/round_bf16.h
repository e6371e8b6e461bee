// BF16 to formats of up to eight bits, two numbers at a time in one word where that can be.
//
// Ties to even: BF16's eight significant bits are enough for all that round_nearest() does in FP32. A format has m mantissa bits and q for the last place of a number's binade (below the smallest normal number: its
// binade's). The magic number is 2^(7 - m) times the binade's power of two with the code's first bits in its mantissa,
// which has seven places, as many as a code without its sign. So its last place is q, the sum with it is rounded to q
// once, and its mantissa is the code. Then all is exact:
// - sum - magic = k q with k <= 2^(m + 1), m <= 6;
// - the error e = k q - x. Where k = 0 it is -x. Else |x| >= q / 2, so that x's own last place u is at least
//   q 2^-8, as its exponent is that of q / 2 or more; e is a multiple of u (q is one), and |e| <= q / 2 <= 128 u.
// Additions keep what is below BF16's normal numbers (they flush nothing).
//
// Other roundings look at more of a number's fraction than BF16 holds, in FP32. Exponents, signs and what codes begin
// with come by pairs.
#pragma once

#include "cuda/round_turn.h"
#include "ullage/formats/scalar.h"

namespace ullage::cuda {

// Of both halves of a word.
constexpr std::uint32_t kSigns = 0x80008000;
constexpr std::uint32_t kMagnitudes = 0x7FFF7FFF;

// Two BF16 numbers each, alike in both halves.
struct PairParameters {
  std::uint32_t least = 0;  // the smallest normal number
  std::uint32_t magic = 0;  // completes the magic numbers
  std::uint32_t unit = 0;   // taken from a binade's power of two to make its last place
  int shift = 0;            // 7 - mantissa bits
  std::uint32_t safe = 0;   // of one number: no magnitude up to this pattern overflows
};

// Whether a format's codes come by pairs. Its magic numbers are BF16 numbers, as is round_nearest()'s in FP32:
// they are 2^7 q, and kernel_shape() keeps q where 2^23 q is one.
inline bool has_pairs(const formats::Format& to) {
  return formats::kernel_shape(to) == formats::KernelShape::small && to.bytes() == 1 &&
         to.magnitude_bits() <= 7 && to.mantissa_bits <= 6;
}

ULLAGE_BOTH PairParameters pair_parameters(const CastParameters& p) {
  constexpr std::uint32_t kBoth = 0x00010001;
  const int shift = 7 - p.mantissa_bits;
  const std::uint32_t least = p.least >> 16;
  // Of one half it may be negative; what it completes never is.
  const std::uint32_t magic = (static_cast<std::uint32_t>(shift) << 7) - (least >> shift);
  const std::uint32_t unit = static_cast<std::uint32_t>(p.mantissa_bits) << 7;
  return {least * kBoth, magic * kBoth, unit * kBoth, shift, p.safe >> 16};
}

ULLAGE_BOTH float low_of(std::uint32_t pair) { return float_of(pair << 16); }
ULLAGE_BOTH float high_of(std::uint32_t pair) { return float_of(pair & 0xFFFF0000); }

#if !defined(__CUDA_ARCH__)
// Each half of a pair by a function of the numbers there, rounded once.
template <class Function>
std::uint32_t by_halves(std::uint32_t a, std::uint32_t b, Function function) {
  const auto half = [&](float x, float y) {
    return formats::encode(formats::kBf16, function(static_cast<double>(x), static_cast<double>(y)),
                           {.overflow = formats::Overflow::non_saturating});
  };
  return half(low_of(a), low_of(b)) | half(high_of(a), high_of(b)) << 16;
}
#endif

ULLAGE_BOTH std::uint32_t add_pairs(std::uint32_t a, std::uint32_t b) {
#if !defined(__CUDA_ARCH__)
  return by_halves(a, b, [](double x, double y) { return formats::sum_to_odd(x, y); });
#else
  std::uint32_t sum;
#if __CUDA_ARCH__ >= 900
  asm("add.rn.bf16x2 %0, %1, %2;" : "=r"(sum) : "r"(a), "r"(b));
#else
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(0x3F803F80), "r"(b));
#endif
  return sum;
#endif
}
ULLAGE_BOTH std::uint32_t subtract_pairs(std::uint32_t a, std::uint32_t b) {
#if !defined(__CUDA_ARCH__)
  return by_halves(a, b, [](double x, double y) { return formats::sum_to_odd(x, -y); });
#else
  std::uint32_t difference;
#if __CUDA_ARCH__ >= 900
  asm("sub.rn.bf16x2 %0, %1, %2;" : "=r"(difference) : "r"(a), "r"(b));
#else
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(difference) : "r"(b), "r"(0xBF80BF80), "r"(a));
#endif
  return difference;
#endif
}

// Of patterns without sign.
ULLAGE_BOTH std::uint32_t larger_halves(std::uint32_t a, std::uint32_t b) {
#if defined(__CUDA_ARCH__)
  return __vmaxu2(a, b);
#else
  const std::uint32_t low = (a & 0xFFFF) > (b & 0xFFFF) ? a : b;
  return (low & 0xFFFF) | (a > b ? a >> 16 : b >> 16) << 16;
#endif
}
ULLAGE_BOTH std::uint32_t smaller_halves(std::uint32_t a, std::uint32_t b) {
#if defined(__CUDA_ARCH__)
  return __vminu2(a, b);
#else
  const std::uint32_t low = (a & 0xFFFF) < (b & 0xFFFF) ? a : b;
  return (low & 0xFFFF) | (a < b ? a >> 16 : b >> 16) << 16;
#endif
}
// The code in the low seven bits of each half, with x's sign above it; the error beside it.
ULLAGE_BOTH void round_pair(std::uint32_t x, const PairParameters& pp, std::uint32_t& sum,
                            std::uint32_t& error) {
  const std::uint32_t exponents = larger_halves(x & 0x7F807F80, pp.least);
  const std::uint32_t magic =
      (exponents + (exponents >> pp.shift) + pp.magic) | (x & kSigns);  // no half carries
  sum = add_pairs(x, magic);
  error = subtract_pairs(subtract_pairs(sum, magic), x);
}

// Four codes without sign, of the pairs x[0] and x[1] whose random words are in their order, and their errors.
template <bool kNearest, Carry kCarry>
ULLAGE_BOTH std::uint32_t round_row(const std::uint32_t* x, const std::uint32_t* random,
                                    const CastParameters& p, const PairParameters& pp,
                                    float (&errors)[4]) {
  if constexpr (kNearest) {
    std::uint32_t sums[2];
    for (int i = 0; i < 2; ++i) {
      std::uint32_t two = 0;
      round_pair(x[i], pp, sums[i], two);
      errors[2 * i] = low_of(two);
      errors[2 * i + 1] = high_of(two);
    }
    return even_bytes(sums[0], sums[1]) & 0x7F7F7F7F;
  } else {
    // As round_small(). No half and no byte carries: units are 2^(m + 1) at most, codes 127.
    std::uint32_t other = 0;
    if constexpr (kCarry == Carry::upward) other = p.threshold_positive == 0 ? 0 : kSigns;
    std::uint32_t bases[2];
    std::uint32_t units[2];
    for (int i = 0; i < 2; ++i) {
      const std::uint32_t turned = x[i] ^ other;
      const std::uint32_t exponents = larger_halves(turned & 0x7F807F80, pp.least);
      const std::uint32_t places = (exponents - pp.unit) | (turned & kSigns);
      bases[i] = (exponents - pp.least) >> pp.shift;
      std::uint32_t sums[2];
      for (int half = 0; half < 2; ++half) {
        const float number = half == 0 ? low_of(turned) : high_of(turned);
        const float unit = half == 0 ? low_of(places) : high_of(places);
        const float sum = in_units<kCarry>(number, unit, random[2 * i + half], p);
        const float value = add_toward_zero(unit, -kTwoTo23, sum);  // exact
        const float error = value - number;
        errors[2 * i + half] =
            kCarry == Carry::upward ? float_of(bits_of(error) ^ (other & kSign)) : error;
        sums[half] = bits_of(sum);
      }
      units[i] = sums[0] + (sums[1] << 8);  // of 2^23 + n, n < 2^8, the middle bits are zero
    }
    return pair_of_halves(units[0], units[1], 0) + even_bytes(bases[0], bases[1]);
  }
}

// The short way: sixteen numbers none of which overflows.
template <bool kNearest, Carry kCarry>
ULLAGE_BOTH void cast_pairs_shortly(const std::uint32_t (&x)[kTurn / 2],
                                    const std::uint32_t (&random)[kTurn], const CastParameters& p,
                                    const PairParameters& pp, std::uint32_t (&words)[4],
                                    float (&pairs)[8], Tally& tally) {
  constexpr std::uint32_t kTops = 0x80808080;
  const std::uint32_t kept = p.drops_negative_zero ? 0 : kTops;  // zero's sign
  std::uint32_t tops = 0;  // 0x80 for each code that is not zero
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
  for (int row = 0; row < 4; ++row) {
    float errors[4];
    const std::uint32_t codes =
        round_row<kNearest, kCarry>(&x[2 * row], &random[4 * row], p, pp, errors);
    for (int l = 0; l < 4; ++l) {
      float& pair = pairs[row / 2 * 4 + l];
      pair = row % 2 == 0 ? errors[l] : pair + errors[l];
    }
    const std::uint32_t there = not_zero<1>(codes);
    const std::uint32_t signs = odd_bytes(x[2 * row], x[2 * row + 1]) & (there | kept);
    words[row] = codes | signs >> (p.sign_shift - 24);
    tops = add_bytes(there, tops);
  }
  const std::uint32_t zeros = kTurn - tops / 0x80;
  if (zeros == 0) return;
  // They were flushed, unless their inputs are zero, which few are.
  tally.flushed += zeros;
  std::uint32_t least = x[0] & kMagnitudes;
  for (int i = 1; i < kTurn / 2; ++i) least = smaller_halves(least, x[i] & kMagnitudes);
  if ((least & 0xFFFF) != 0 && least >> 16 != 0) return;
  for (int i = 0; i < kTurn / 2; ++i)
    tally.flushed -= 2 - static_cast<std::uint32_t>(ones_in(not_zero<2>(x[i] & kMagnitudes)));
}

// What cast_turn() does for sixteen BF16 numbers, x[2 w] and x[2 w + 1] having those of row w.
template <bool kNearest, bool kStochastic>
ULLAGE_BOTH void cast_turn_of_pairs(const std::uint32_t (&x)[kTurn / 2],
                                    const std::uint32_t (&random)[kTurn], const formats::Format& to,
                                    const CastParameters& p, const PairParameters& pp,
                                    std::uint32_t (&words)[4], float (&pairs)[8], Tally& tally) {
  std::uint32_t largest_of[kTurn / 2];
  for (int i = 0; i < kTurn / 2; ++i) largest_of[i] = x[i] & kMagnitudes;
  for (int half = kTurn / 4; half > 0; half /= 2)
    for (int i = 0; i < half; ++i)
      largest_of[i] = larger_halves(largest_of[i], largest_of[i + half]);
  const std::uint32_t low = largest_of[0] & 0xFFFF;
  const std::uint32_t high = largest_of[0] >> 16;
  const std::uint32_t largest = low > high ? low : high;
  if (largest <= pp.safe) {
    const float magnitude = float_of(largest << 16);
    tally.largest = magnitude > tally.largest ? magnitude : tally.largest;
    if constexpr (kStochastic)
      cast_pairs_shortly<kNearest, Carry::drawn>(x, random, p, pp, words, pairs, tally);
    else if (!kNearest && goes_upward(p))
      cast_pairs_shortly<kNearest, Carry::upward>(x, random, p, pp, words, pairs, tally);
    else
      cast_pairs_shortly<kNearest, Carry::share>(x, random, p, pp, words, pairs, tally);
    return;
  }
  float values[kTurn];
  for (int i = 0; i < kTurn / 2; ++i) {
    values[2 * i] = low_of(x[i]);
    values[2 * i + 1] = high_of(x[i]);
  }
  cast_turn_at_length<kNearest ? Body::nearest : Body::small, kStochastic, 1>(
      values, random, to, p, false, true, words, pairs, tally);
}

}  // namespace ullage::cuda
