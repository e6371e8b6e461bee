// A group of vectors of FP32 numbers to codes, with counts: what the loops of cast_kernels.cc and mx_kernels.cc are made
// of. Included once for each CPU path.
//
// A group's largest magnitude decides: where nothing can overflow, the short way makes the codes; else, and for NaN,
// the exact way does, one vector at a time. Both give the same bits.
#if defined(ULLAGE_FORMATS_CAST_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ULLAGE_FORMATS_CAST_VECTOR_INL_H_
#undef ULLAGE_FORMATS_CAST_VECTOR_INL_H_
#else
#define ULLAGE_FORMATS_CAST_VECTOR_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "formats/round_vector-inl.h"
#include "formats/store_group-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ullage::formats::HWY_NAMESPACE {
namespace {

// The exact way: one vector's codes with sign; adds to the tally and to the sums.
template <Body kBody, bool kStochastic>
HWY_INLINE VU cast_exactly(VF input, VF x, VU random, const CastParameters& p, Tally& tally,
                           VF& error_found, VI& largest_sum) {
  const F f;
  const U u;
  const I i;
  const VU sign_bit = hn::Set(u, 0x80000000);
  const VU input_magnitude = magnitude_bits(hn::BitCast(u, input));
  const VU bits = hn::BitCast(u, x);
  const VU magnitude = magnitude_bits(bits);
  const VU sign = hn::And(sign_bit, bits);
  Codes codes;
  if constexpr (kBody == Body::nearest) {
    codes = round_nearest(capped_magnitude(magnitude, p), p, constants(p));
    codes.code = hn::And(codes.code, hn::Set(u, kNearestCode));
  }
  if constexpr (kBody == Body::small)
    codes = round_small<kStochastic>(capped_magnitude(magnitude, p), bits, random, p, constants(p));
  if constexpr (is_prefix(kBody))
    codes = round_prefix<kBody, kStochastic>(magnitude, bits, random, p);
  const VF error = hn::Sub(hn::BitCast(f, hn::Or(hn::BitCast(u, codes.value), sign)), x);
  const VI largest = hn::BitCast(i, input_magnitude);
  const auto zero = hn::Eq(codes.code, hn::Zero(u));
  tally.flushed += hn::CountTrue(u, hn::And(zero, hn::Ne(input_magnitude, hn::Zero(u))));
  const VU coded_sign = hn::ShiftRightSame(bits, p.sign_shift);
  VU code = hn::OrAnd(codes.code, coded_sign, hn::Set(u, p.sign_mask));
  if (p.drops_negative_zero) code = hn::IfThenZeroElse(zero, code);

  const auto nan = hn::Gt(hn::BitCast(i, magnitude), hn::Set(i, 0x7F800000));
  const auto past_codes =
      hn::Gt(hn::BitCast(i, codes.code), hn::Set(i, static_cast<std::int32_t>(p.max_code)));
  const auto over = hn::Or(past_codes, nan);
  const auto infinite = hn::Eq(magnitude, hn::Set(u, 0x7F800000));
  const auto negative = hn::Ne(sign, hn::Zero(u));
  const auto saturated = hn::AndNot(hn::RebindMask(u, nan), hn::RebindMask(u, over));
  tally.nan += hn::CountTrue(i, nan);
  tally.saturated += hn::CountTrue(u, saturated);
  const auto choose = [&](std::uint32_t if_positive, std::uint32_t if_negative) HWY_ATTR {
    return hn::IfThenElse(negative, hn::Set(u, if_negative), hn::Set(u, if_positive));
  };
  const VU past = hn::IfThenElse(infinite, choose(p.infinity_positive, p.infinity_negative),
                                 choose(p.overflow_positive, p.overflow_negative));
  code = hn::IfThenElse(saturated, past, code);
  code = hn::IfThenElse(hn::RebindMask(u, nan), choose(p.nan_positive, p.nan_negative), code);
  error_found = hn::IfThenZeroElse(hn::RebindMask(f, over), error);
  largest_sum = hn::Max(largest_sum, hn::IfThenZeroElse(nan, largest));
  return code;
}

template <Scaling kScaling>
HWY_INLINE void add_errors(const VF (&errors)[kVectors], const Scale& scale, Sums& sums) {
  for (std::size_t part = 0; part < kParts; ++part) {
    VF first = errors[part];
    VF second = errors[part + kParts];
    if constexpr (kScaling == Scaling::rows) {
      first = hn::Mul(first, scale.reciprocal[0]);
      second = hn::Mul(second, scale.reciprocal[1]);
    }
    VF error = hn::Add(first, second);
    if constexpr (kScaling == Scaling::group) error = hn::Mul(error, scale.reciprocal[0]);
    sums.error[part] = hn::Add(sums.error[part], error);
  }
}

// The short way: kGroup inputs of which none overflows.
template <Body kBody, bool kStochastic, Scaling kScaling, class Code>
HWY_INLINE void cast_group(const float* HWY_RESTRICT values,
                           const std::uint32_t* HWY_RESTRICT random, const Scale& scale,
                           const CastParameters& p, [[maybe_unused]] const Constants& k, Sums& sums,
                           Code* HWY_RESTRICT to) {
  const F f;
  const U u;
  VF errors[kVectors];
  VU codes[kVectors];
  VU bits[kVectors];
  VU inputs[kVectors];
  for (std::size_t v = 0; v < kVectors; ++v) {
    const VF input = hn::LoadU(f, values + v * kLanes);
    const VF x = kScaling == Scaling::none ? input : hn::Mul(input, scale.multiplier[v / kParts]);
    inputs[v] = hn::BitCast(u, input);
    bits[v] = hn::BitCast(u, x);
    Codes found;
    if constexpr (kBody == Body::nearest) found = round_nearest(bits[v], p, k);
    if constexpr (kBody == Body::small) {
      const VU words = kStochastic ? hn::LoadU(u, random + v * kLanes) : hn::Zero(u);
      found = round_small<kStochastic>(magnitude_bits(bits[v]), bits[v], words, p, k);
      found.value = hn::BitCast(f, hn::OrAnd(hn::BitCast(u, found.value), bits[v], k.sign));
    }
    if constexpr (is_prefix(kBody)) {  // takes the sign along: nothing here carries into it
      const VU words = kStochastic ? hn::LoadU(u, random + v * kLanes) : hn::Zero(u);
      found = round_prefix<kBody, kStochastic>(bits[v], bits[v], words, p);
    }
    codes[v] = found.code;
    errors[v] = hn::Sub(found.value, x);
  }
  add_errors<kScaling>(errors, scale, sums);
  store_group<kBody>(codes, bits, inputs, p, k, sums.zeros, to);
}

// The short way for groups in which finite values overflow: nearest_even, saturating. Counts those that do.
template <Scaling kScaling, class Code>
HWY_INLINE void cast_group_clipping(const float* HWY_RESTRICT values, const Scale& scale,
                                    const CastParameters& p, const Constants& k, Sums& sums,
                                    VI& clipped, Code* HWY_RESTRICT to) {
  const F f;
  const U u;
  const I i;
  const VI most = hn::Set(i, static_cast<std::int32_t>(p.max_code));
  VF errors[kVectors];
  VU codes[kVectors];
  VU bits[kVectors];
  VU inputs[kVectors];
  for (std::size_t v = 0; v < kVectors; ++v) {
    const VF input = hn::LoadU(f, values + v * kLanes);
    const VF x = kScaling == Scaling::none ? input : hn::Mul(input, scale.multiplier[v / kParts]);
    inputs[v] = hn::BitCast(u, input);
    bits[v] = hn::BitCast(u, x);
    const Codes found = round_nearest(bits[v], p, k);
    const VI code = hn::BitCast(i, hn::And(found.code, k.nearest_code));
    const auto over = hn::Gt(code, most);
    codes[v] = hn::BitCast(u, hn::Min(code, most));
    clipped = hn::Sub(clipped, hn::VecFromMask(i, over));
    errors[v] = hn::IfThenZeroElse(hn::RebindMask(f, over), hn::Sub(found.value, x));
  }
  add_errors<kScaling>(errors, scale, sums);
  store_group<Body::nearest>(codes, bits, inputs, p, k, sums.zeros, to);
}

// The exact way for kGroup inputs, or for the kRow that are left at the end.
template <Body kBody, bool kStochastic, Scaling kScaling, class Code>
HWY_NOINLINE void cast_group_exactly(const float* HWY_RESTRICT values, std::size_t count,
                                     const std::uint32_t* HWY_RESTRICT random, const Scale& scale,
                                     const CastParameters& p, Tally& tally, Sums& sums,
                                     Code* HWY_RESTRICT to) {
  VF errors[kVectors];
  for (VF& error : errors) error = hn::Zero(F());
  for (std::size_t v = 0; v < count / kLanes; ++v) {
    const VU words = kStochastic ? hn::LoadU(U(), random + v * kLanes) : hn::Zero(U());
    const VF input = hn::LoadU(F(), values + v * kLanes);
    const VF x = kScaling == Scaling::none ? input : hn::Mul(input, scale.multiplier[v / kParts]);
    store(cast_exactly<kBody, kStochastic>(input, x, words, p, tally, errors[v], sums.largest),
          to + v * kLanes);
  }
  add_errors<kScaling>(errors, scale, sums);
}

// Adds a call's findings; the lanes' errors in their order.
template <class Code>
HWY_INLINE void collect(const Tally& tally, const Sums& sums, BlockCounts& counts) {
  const F f;
  HWY_ALIGN float errors[kRow];
  HWY_ALIGN float largest[kLanes];
  for (std::size_t part = 0; part < kParts; ++part)
    hn::Store(sums.error[part], f, errors + part * kLanes);
  hn::Store(hn::BitCast(f, sums.largest), f, largest);
  double error = 0;
  for (const float lane : errors) error += static_cast<double>(lane);
  for (const float lane : largest) counts.amax = counts.amax < lane ? lane : counts.amax;
  const std::int64_t flushed = sum_of_zeros<Code>(sums.zeros);
  counts.error += error;
  counts.nan += tally.nan;
  counts.saturated += tally.saturated;
  counts.flushed += tally.flushed + static_cast<std::uint64_t>(flushed);
}

}  // namespace
}  // namespace ullage::formats::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
