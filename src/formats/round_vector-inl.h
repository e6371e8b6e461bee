// FP32 numbers of one vector rounded to a format: the vectors' types, and every way of rounding. What overflows is
// another's business. Included once for each CPU path.
#if defined(ULLAGE_FORMATS_ROUND_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ULLAGE_FORMATS_ROUND_VECTOR_INL_H_
#undef ULLAGE_FORMATS_ROUND_VECTOR_INL_H_
#else
#define ULLAGE_FORMATS_ROUND_VECTOR_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "formats/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace ullage::formats::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using F = hn::CappedTag<float, kRow>;
using U = hn::RebindToUnsigned<F>;
using I = hn::RebindToSigned<F>;
using VF = hn::VFromD<F>;
using VU = hn::VFromD<U>;
using VI = hn::VFromD<I>;
constexpr std::size_t kLanes = hn::MaxLanes(F());
constexpr std::size_t kParts = kRow / kLanes;      // vectors of a row
constexpr std::size_t kVectors = kGroup / kLanes;  // of a group
// Elements ahead: the next page, where the hardware's own prefetchers stop. A fifth faster, measured.
constexpr std::size_t kPrefetch = 1024;

// prefix: FP32's exponents; nearest, small: exponents well inside FP32's; nearest ones round ties to even.
enum class Body { prefix_nearest, prefix, nearest, small };
constexpr bool is_prefix(Body body) { return body == Body::prefix_nearest || body == Body::prefix; }

struct Tally {
  std::uint64_t nan = 0;
  std::uint64_t saturated = 0;
  std::uint64_t flushed = 0;
};

// Running sums. Of each group, elements i and i + 16 add their errors, and the sum is added to lane i, on every path.
struct Sums {
  VF error[kParts];
  VI largest;
  VI zeros;  // codes that are zero, less inputs that are
};

// What values are multiplied by before, and errors after: nothing, one number for a group, or one for each row of it.
enum class Scaling { none, group, rows };
struct Scale {
  VF multiplier[kGroup / kRow];
  VF reciprocal[kGroup / kRow];
};
HWY_INLINE Scale uniform_scale(float multiplier, float reciprocal) {
  const VF by = hn::Set(F(), multiplier);
  const VF back = hn::Set(F(), reciprocal);
  return {{by, by}, {back, back}};
}

// Codes, and the values they stand for.
struct Codes {
  VU code;
  VF value;
};

// Vectors that every turn of a loop needs.
struct Constants {
  VU sign;
  VU exponent;  // FP32's exponent field
  VU least, magic;
  VU nearest_code;
};
// A vector that stays one: the compiler would make it anew from its number in every turn.
HWY_INLINE VU held(std::uint32_t number) {
  VU vector = hn::Set(U(), number);
#if HWY_TARGET == HWY_AVX2
  __asm__("" : "+x"(vector.raw));
#elif HWY_TARGET == HWY_AVX3
  __asm__("" : "+v"(vector.raw));
#endif
  return vector;
}
constexpr std::uint32_t kNearestCode = 0x7FFFFF;
HWY_INLINE Constants constants(const CastParameters& p) {
  return {held(0x80000000), held(0x7F800000), held(p.least), held(p.magic), held(kNearestCode)};
}

HWY_INLINE VU magnitude_bits(VU bits) { return hn::AndNot(hn::Set(U(), 0x80000000), bits); }
HWY_INLINE VI magnitude_of(VF x) { return hn::BitCast(I(), magnitude_bits(hn::BitCast(U(), x))); }

HWY_INLINE void clear(Sums& sums) {
  for (VF& part : sums.error) part = hn::Zero(F());
  sums.largest = hn::Zero(I());
  sums.zeros = hn::Zero(I());
}

// NaN, infinity and all that overflows in any case are one binade past the largest, whose codes no number has.
HWY_INLINE VU capped_magnitude(VU magnitude, const CastParameters& p) {
  const I i;
  const VI cap = hn::Set(i, static_cast<std::int32_t>(p.cap));
  return hn::BitCast(U(), hn::Min(hn::BitCast(i, magnitude), cap));
}
// The binade of each number, as FP32 bits of its power of two; below the smallest normal number it stays there, so
// subnormals need nothing else.
HWY_INLINE VU binade(VU bits, const Constants& k) {
  const I i;
  return hn::BitCast(U(),
                     hn::Max(hn::BitCast(i, hn::And(bits, k.exponent)), hn::BitCast(i, k.least)));
}

// x + 2^(23 - mantissa_bits) 2^binade with the sign of x: the sum's last place is the format's, so the addition rounds
// to nearest even, and what it adds to the magic number's bits is the significand. The magic number's own low bits hold
// the codes below the binade, so that the sum's low 23 bits are the code. The value comes with its sign.
HWY_INLINE Codes round_nearest(VU bits, const CastParameters& p, const Constants& k) {
  const F f;
  const U u;
  const VU exponent = binade(bits, k);
  VU magic = hn::Add(hn::Add(exponent, hn::ShiftRightSame(exponent, p.mantissa_shift)), k.magic);
  magic = hn::OrAnd(magic, bits, k.sign);
  const VF sum = hn::Add(hn::BitCast(f, bits), hn::BitCast(f, magic));
  return {hn::BitCast(u, sum), hn::Sub(sum, hn::BitCast(f, magic))};
}
// The low bits of 2^23 + n are n, for n an integer below 2^23.
constexpr float kTwoTo23 = 8388608.0F;

// 2^23 + the units of the last place after a stochastic carry: fraction + random >= 1, where random is a multiple of
// 2^-23 in [0, 1). Every operation on the way is exact.
HWY_INLINE VF carry_stochastic(VF units, VU random) {
  const F f;
  const U u;
  const VF one_to_two =  // 1 + random
      hn::BitCast(f, hn::Or(hn::ShiftRight<9>(random), hn::Set(u, 0x3F800000)));
#if HWY_TARGET == HWY_AVX3
  // Sums cut towards zero keep their whole part.
  constexpr int kTowardZero = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
  const __m512 sum = _mm512_add_round_ps(units.raw, one_to_two.raw, kTowardZero);
  return VF{_mm512_add_round_ps(sum, _mm512_set1_ps(kTwoTo23 - 1), kTowardZero)};
#else
  const VF whole = hn::Trunc(units);
  const VF threshold = hn::Sub(hn::Set(f, 2), one_to_two);
  const auto past = hn::Ge(hn::Sub(units, whole), threshold);
  return hn::Add(hn::Add(whole, hn::IfThenElseZero(past, hn::Set(f, 1))), hn::Set(f, kTwoTo23));
#endif
}

// The same with a threshold for each sign instead: a fraction past it rounds away from zero.
HWY_INLINE VF carry_directed(VF units, VU bits, const CastParameters& p) {
  const F f;
  const U u;
  const I i;
  const VF whole = hn::Trunc(units);
  const VU negative = hn::BitCast(u, hn::ShiftRight<31>(hn::BitCast(i, bits)));
  const VU threshold =
      hn::Xor(hn::Set(u, p.threshold_positive),
              hn::And(negative, hn::Set(u, p.threshold_positive ^ p.threshold_negative)));
  const auto past = hn::Gt(hn::BitCast(i, hn::Sub(units, whole)), hn::BitCast(i, threshold));
  const VF carry = hn::IfThenElseZero(hn::RebindMask(f, past), hn::Set(f, 1));
  return hn::Add(hn::Add(whole, carry), hn::Set(f, kTwoTo23));
}

// The magnitude in units of the format's last place: its whole part is the significand, the fraction decides.
template <bool kStochastic>
HWY_INLINE Codes round_small(VU magnitude, VU bits, VU random, const CastParameters& p,
                             const Constants& k) {
  const F f;
  const U u;
  const VU exponent = binade(magnitude, k);
  const VF units = hn::Mul(hn::BitCast(f, magnitude),
                           hn::BitCast(f, hn::Sub(hn::Set(u, p.inverse_unit), exponent)));
  const VF significand =
      kStochastic ? carry_stochastic(units, random) : carry_directed(units, bits, p);
  // 2^23 is in p.base.
  const VU base = hn::Sub(hn::ShiftRightSame(exponent, p.mantissa_shift), hn::Set(u, p.base));
  const VU unit = hn::Sub(exponent, hn::Set(u, static_cast<std::uint32_t>(p.mantissa_bits) << 23));
  return {hn::Add(hn::BitCast(u, significand), base),
          hn::Mul(hn::Sub(significand, hn::Set(f, kTwoTo23)), hn::BitCast(f, unit))};
}

// FP32's own bits, with or without their sign, something added below the last place kept, and cut.
template <Body kBody, bool kStochastic>
HWY_INLINE Codes round_prefix(VU bits, VU sign, VU random, const CastParameters& p) {
  const F f;
  const U u;
  const I i;
  VU add;
  if constexpr (kStochastic) {
    add = hn::ShiftRightSame(hn::ShiftRight<1>(random), 31 - p.mantissa_shift);
  } else {
    add = hn::Set(u, p.addend_positive);
    if constexpr (kBody == Body::prefix) {
      const VU negative = hn::BitCast(u, hn::ShiftRight<31>(hn::BitCast(i, sign)));
      add = hn::Xor(add, hn::And(negative, hn::Set(u, p.addend_positive ^ p.addend_negative)));
    } else {
      const VU odd = hn::And(hn::ShiftRightSame(bits, p.mantissa_shift), hn::Set(u, p.addend_odd));
      add = hn::Add(add, odd);
    }
  }
  const VU sum = hn::Add(bits, add);
  return {hn::ShiftRightSame(sum, p.mantissa_shift),
          hn::BitCast(f, hn::And(sum, hn::Set(u, p.kept)))};
}

}  // namespace
}  // namespace ullage::formats::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
