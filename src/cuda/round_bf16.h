// BF16 to formats of up to eight bits, ties to even, two numbers at a time in one word: BF16's eight significant bits are
// enough for all that round_nearest() does in FP32.
//
// A format has m mantissa bits and q for the last place of a number's binade (below the smallest normal number: its
// binade's). The magic number is 2^(7 - m) times the binade's power of two with the code's first bits in its mantissa,
// which has seven places, as many as a code without its sign. So its last place is q, the sum with it is rounded to q
// once, and its mantissa is the code. Then all is exact:
// - sum - magic = k q with k <= 2^(m + 1), m <= 6;
// - the error e = k q - x. Where k = 0 it is -x. Else |x| >= q / 2, so that x's own last place u is at least
//   q 2^-8, as its exponent is that of q / 2 or more; e is a multiple of u (q is one), and |e| <= q / 2 <= 128 u.
// Additions keep what is below BF16's normal numbers (they flush nothing).
#pragma once

#include "cuda/round.h"
#include "ullage/formats/scalar.h"

namespace ullage::cuda {

// Two BF16 numbers each, alike in both halves.
struct PairParameters {
  std::uint32_t least = 0;  // the smallest normal number
  std::uint32_t magic = 0;  // completes the magic numbers
  int shift = 0;            // 7 - mantissa bits
  std::uint32_t safe = 0;   // of one number: no magnitude up to this pattern overflows
};

// Whether a format's nearest codes come by pairs. Its magic numbers are BF16 numbers, as is round_nearest()'s in FP32:
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
  return {least * kBoth, magic * kBoth, shift, p.safe >> 16};
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
// sum + the four bytes of `bytes`.
ULLAGE_BOTH std::uint32_t add_bytes(std::uint32_t bytes, std::uint32_t sum) {
#if defined(__CUDA_ARCH__)
  return __dp4a(bytes, 0x01010101U, sum);
#else
  for (int place = 0; place < 4; ++place) sum += bytes >> (8 * place) & 0xFF;
  return sum;
#endif
}

// The code in the low seven bits of each half, with x's sign above it; the error beside it.
ULLAGE_BOTH void round_pair(std::uint32_t x, const PairParameters& pp, std::uint32_t& sum,
                            std::uint32_t& error) {
  const std::uint32_t exponents = larger_halves(x & 0x7F807F80, pp.least);
  const std::uint32_t magic =
      (exponents + (exponents >> pp.shift) + pp.magic) | (x & 0x80008000);  // no half carries
  sum = add_pairs(x, magic);
  error = subtract_pairs(subtract_pairs(sum, magic), x);
}

// What cast_turn() does for sixteen BF16 numbers, x[2 w] and x[2 w + 1] having those of row w.
ULLAGE_BOTH void cast_turn_of_pairs(const std::uint32_t (&x)[kTurn / 2], const formats::Format& to,
                                    const CastParameters& p, const PairParameters& pp,
                                    std::uint32_t (&words)[4], float (&pairs)[8], Tally& tally) {
  constexpr std::uint32_t kMagnitudes = 0x7FFF7FFF;
  constexpr std::uint32_t kTops = 0x80808080;
  std::uint32_t largest_of[kTurn / 2];
  for (int i = 0; i < kTurn / 2; ++i) largest_of[i] = x[i] & kMagnitudes;
  for (int half = kTurn / 4; half > 0; half /= 2)
    for (int i = 0; i < half; ++i)
      largest_of[i] = larger_halves(largest_of[i], largest_of[i + half]);
  const std::uint32_t low = largest_of[0] & 0xFFFF;
  const std::uint32_t high = largest_of[0] >> 16;
  const std::uint32_t largest = low > high ? low : high;
  if (largest > pp.safe) {  // NaN too
    float values[kTurn];
    std::uint32_t random[kTurn] = {};
    for (int i = 0; i < kTurn / 2; ++i) {
      values[2 * i] = low_of(x[i]);
      values[2 * i + 1] = high_of(x[i]);
    }
    cast_turn_at_length<Body::nearest, false, 1>(values, random, to, p, false, true, words, pairs,
                                                 tally);
    return;
  }
  const float magnitude = float_of(largest << 16);
  tally.largest = magnitude > tally.largest ? magnitude : tally.largest;
  const std::uint32_t kept = p.drops_negative_zero ? 0 : kTops;  // zero's sign
  std::uint32_t tops = 0;  // 0x80 for each code that is not zero
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
  for (int row = 0; row < 4; ++row) {
    std::uint32_t sums[2];
    std::uint32_t errors[2];
    for (int i = 0; i < 2; ++i) {
      round_pair(x[2 * row + i], pp, sums[i], errors[i]);
      float* to_pairs = &pairs[row / 2 * 4 + 2 * i];
      to_pairs[0] = row % 2 == 0 ? low_of(errors[i]) : to_pairs[0] + low_of(errors[i]);
      to_pairs[1] = row % 2 == 0 ? high_of(errors[i]) : to_pairs[1] + high_of(errors[i]);
    }
    const std::uint32_t codes = even_bytes(sums[0], sums[1]) & ~kTops;
    const std::uint32_t there = not_zero<1>(codes);
    const std::uint32_t signs = odd_bytes(sums[0], sums[1]) & (there | kept);
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

}  // namespace ullage::cuda
