// Codes of a group from vectors of 32-bit lanes to memory, with a count of those that are zero. Included once for each
// CPU path.
#if defined(ULLAGE_FORMATS_STORE_GROUP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ULLAGE_FORMATS_STORE_GROUP_INL_H_
#undef ULLAGE_FORMATS_STORE_GROUP_INL_H_
#else
#define ULLAGE_FORMATS_STORE_GROUP_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "formats/round_vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ullage::formats::HWY_NAMESPACE {
namespace {

template <class Code>
HWY_INLINE void store(VU code, Code* to) {
  if constexpr (sizeof(Code) == 4) {
    hn::StoreU(code, U(), to);
#if HWY_TARGET == HWY_AVX3
  } else if constexpr (sizeof(Code) == 1) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(code.raw));
  } else if constexpr (sizeof(Code) == 2) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(code.raw));
#endif
  } else {
    const hn::Rebind<Code, U> d;
    hn::StoreU(hn::TruncateTo(d, code), d, to);
  }
}

// Counts, in lanes of as many bits as a code takes: one more where a code is zero, one less where its input is.
// What is left is flushed. No call has more than kBlock / kGroup elements a lane, which 8 bits hold.
#if HWY_TARGET == HWY_AVX2
// The codes of a group packed into bytes or halves, in the order that packing within halves of a vector gives.
template <class Code>
struct Packed {
  static constexpr std::size_t kCount = sizeof(Code) == 1 ? 1 : 2;
  __m256i part[kCount];
};
// Signed values stay signed, and none becomes zero that was not.
template <class Code>
HWY_INLINE Packed<Code> pack_signed(const VU* bits) {
  const __m256i low = _mm256_packs_epi32(bits[0].raw, bits[1].raw);
  const __m256i high = _mm256_packs_epi32(bits[2].raw, bits[3].raw);
  if constexpr (sizeof(Code) == 1)
    return {{_mm256_packs_epi16(low, high)}};
  else
    return {{low, high}};
}
template <class Code>
HWY_INLINE Packed<Code> pack_codes(const VU* codes) {
  const __m256i low = _mm256_packus_epi32(codes[0].raw, codes[1].raw);
  const __m256i high = _mm256_packus_epi32(codes[2].raw, codes[3].raw);
  if constexpr (sizeof(Code) == 1)
    return {{_mm256_packus_epi16(low, high)}};
  else
    return {{low, high}};
}
template <class Code>
HWY_INLINE __m256i is_zero(__m256i packed) {
  const __m256i zero = _mm256_setzero_si256();
  return sizeof(Code) == 1 ? _mm256_cmpeq_epi8(packed, zero) : _mm256_cmpeq_epi16(packed, zero);
}
template <class Code>
HWY_INLINE __m256i add_lanes(__m256i a, __m256i b) {
  return sizeof(Code) == 1 ? _mm256_add_epi8(a, b) : _mm256_add_epi16(a, b);
}
template <class Code>
HWY_INLINE __m256i subtract_lanes(__m256i a, __m256i b) {
  return sizeof(Code) == 1 ? _mm256_sub_epi8(a, b) : _mm256_sub_epi16(a, b);
}
template <class Code>
HWY_INLINE void store_packed(const Packed<Code>& packed, Code* to) {
  if constexpr (sizeof(Code) == 1) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        _mm256_permutevar8x32_epi32(packed.part[0], order));
  } else {
    for (std::size_t v = 0; v < 2; ++v)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + v * kRow),
                          _mm256_permute4x64_epi64(packed.part[v], 0xD8));
  }
}
#endif

// Adds one vector: `code` under `mask` is zero where the code is.
HWY_INLINE void count_zeros(VU code, std::uint32_t mask, VU input, VI& zeros) {
  const U u;
#if HWY_TARGET == HWY_AVX3
  const __mmask16 wanted = _mm512_test_epi32_mask(input.raw, _mm512_set1_epi32(0x7FFFFFFF));
  const __mmask16 flushed = _mm512_mask_testn_epi32_mask(wanted, code.raw, hn::Set(u, mask).raw);
  zeros = VI{_mm512_mask_sub_epi32(zeros.raw, flushed, zeros.raw, _mm512_set1_epi32(-1))};
#else
  const I i;
  const auto zero_code = hn::Eq(hn::And(code, hn::Set(u, mask)), hn::Zero(u));
  const auto zero_input = hn::Eq(magnitude_bits(input), hn::Zero(u));
  zeros = hn::Sub(zeros, hn::BitCast(i, hn::VecFromMask(u, zero_code)));
  zeros = hn::Add(zeros, hn::BitCast(i, hn::VecFromMask(u, zero_input)));
#endif
}

// Codes of a group to memory, and their zeros to the counts. Under kMask they have no sign yet, which they take from
// `bits`; prefixes have theirs.
template <Body kBody, class Code>
HWY_INLINE void store_group(VU* codes, const VU* bits, const VU* inputs, const CastParameters& p,
                            [[maybe_unused]] const Constants& k, VI& zeros, Code* to) {
  const U u;
  constexpr std::uint32_t kMask = kBody == Body::nearest ? kNearestCode
                                  : is_prefix(kBody)     ? 0x7FFFFFFF
                                                         : 0xFFFFFFFF;
#if HWY_TARGET == HWY_AVX2
  if constexpr (sizeof(Code) < 4) {
    if constexpr (kBody == Body::nearest)
      for (std::size_t v = 0; v < kVectors; ++v) codes[v] = hn::And(codes[v], hn::Set(u, kMask));
    Packed<Code> code = pack_codes<Code>(codes);
    Packed<Code> sign = pack_signed<Code>(bits);
    VU magnitudes[kVectors];
    for (std::size_t v = 0; v < kVectors; ++v) magnitudes[v] = magnitude_bits(inputs[v]);
    const Packed<Code> input = pack_signed<Code>(magnitudes);
    for (std::size_t v = 0; v < Packed<Code>::kCount; ++v) {
      __m256i magnitude = code.part[v];
      if constexpr (is_prefix(kBody))  // the sign is a code's first bit: out of 16, or of 8
        magnitude = add_lanes<Code>(magnitude, magnitude);
      const __m256i zero = is_zero<Code>(magnitude);
      zeros =
          VI{add_lanes<Code>(subtract_lanes<Code>(zeros.raw, zero), is_zero<Code>(input.part[v]))};
      if constexpr (!is_prefix(kBody)) {
        constexpr int kSpare = 32 - 8 * static_cast<int>(sizeof(Code));
        const __m256i top = sizeof(Code) == 1 ? _mm256_set1_epi8(static_cast<char>(0x80))
                                              : _mm256_set1_epi16(static_cast<short>(0x8000));
        sign.part[v] = _mm256_srl_epi16(_mm256_and_si256(sign.part[v], top),
                                        _mm_cvtsi32_si128(p.sign_shift - kSpare));
        if (p.drops_negative_zero) sign.part[v] = _mm256_andnot_si256(zero, sign.part[v]);
        code.part[v] = _mm256_or_si256(code.part[v], sign.part[v]);
      }
    }
    store_packed(code, to);
    return;
  }
#endif
  for (std::size_t v = 0; v < kVectors; ++v) {
    VU code = codes[v];
    count_zeros(is_prefix(kBody) ? hn::ShiftLeftSame(code, p.mantissa_shift) : code, kMask,
                inputs[v], zeros);
    if constexpr (!is_prefix(kBody)) {
      if constexpr (sizeof(Code) == 4) code = hn::And(code, hn::Set(u, kMask));
      const VU coded =
          hn::OrAnd(code, hn::ShiftRightSame(bits[v], p.sign_shift), hn::Set(u, p.sign_mask));
      code = coded;
      if (p.drops_negative_zero)
        code = hn::IfThenZeroElse(hn::Eq(hn::And(codes[v], hn::Set(u, kMask)), hn::Zero(u)), coded);
    }
    store(code, to + v * kLanes);
  }
}

// What count_zeros and store_group counted, in lanes of their width.
template <class Code>
HWY_INLINE std::int64_t sum_of_zeros(VI zeros) {
  using Lane = std::conditional_t<HWY_TARGET == HWY_AVX2 && sizeof(Code) < 4,
                                  std::conditional_t<sizeof(Code) == 1, std::int8_t, std::int16_t>,
                                  std::int32_t>;
  HWY_ALIGN Lane lanes[kLanes * sizeof(std::int32_t) / sizeof(Lane)];
  hn::Store(zeros, I(), reinterpret_cast<std::int32_t*>(lanes));
  std::int64_t sum = 0;
  for (const Lane lane : lanes) sum += lane;
  return sum;
}

}  // namespace
}  // namespace ullage::formats::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
