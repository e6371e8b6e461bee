// AVX512 vectors for the kernels' bodies. The including file defines ULLAGE_TARGET.
#pragma once

#include <immintrin.h>

#include "attention/fast_kernels.h"

#define ULLAGE_INLINE inline __attribute__((always_inline)) ULLAGE_TARGET

namespace ullage::attention {

namespace {

constexpr int kLanes = 16;
constexpr int kRowTile = 8;
constexpr int kVectors = 2;
// Q and dO of a block in both packed forms: 32 KB of BF16 at width 64.
constexpr int kQueryBlock = 64;
constexpr int kKeyTile = 128;

using Floats = __m512;
using Flags = __mmask16;

ULLAGE_INLINE Floats load(const float* from) { return _mm512_loadu_ps(from); }
ULLAGE_INLINE void store(float* to, Floats x) { _mm512_storeu_ps(to, x); }
// One number a row of a tile, in the first kRowTile lanes.
ULLAGE_INLINE Floats load_tile(const float* from) {
  return _mm512_zextps256_ps512(_mm256_loadu_ps(from));
}
ULLAGE_INLINE void store_tile(float* to, Floats x) {
  _mm256_storeu_ps(to, _mm512_castps512_ps256(x));
}
ULLAGE_INLINE Floats all(float x) { return _mm512_set1_ps(x); }
ULLAGE_INLINE Floats zeros() { return _mm512_setzero_ps(); }
ULLAGE_INLINE Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
ULLAGE_INLINE Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
ULLAGE_INLINE Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
ULLAGE_INLINE Floats div(Floats a, Floats b) { return _mm512_div_ps(a, b); }
ULLAGE_INLINE Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
// b where either is NaN.
ULLAGE_INLINE Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
ULLAGE_INLINE Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
ULLAGE_INLINE Floats abs(Floats a) { return _mm512_abs_ps(a); }
ULLAGE_INLINE Floats with_sign_of(Floats size, Floats sign) {
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
      _mm512_set1_epi32(INT32_MIN), _mm512_castps_si512(sign), _mm512_castps_si512(size), 0xCA));
}
ULLAGE_INLINE Flags equal(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
// True where either is NaN; the others take b, or its square, where flags are set.
ULLAGE_INLINE Flags differ(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ); }
ULLAGE_INLINE Floats add_where(Flags flags, Floats a, Floats b) {
  return _mm512_mask_add_ps(a, flags, a, b);
}
ULLAGE_INLINE Floats add_square_where(Flags flags, Floats a, Floats b) {
  return _mm512_mask3_fmadd_ps(b, b, a, flags);
}
ULLAGE_INLINE Floats max_where(Flags flags, Floats a, Floats b) {
  return _mm512_mask_max_ps(a, flags, a, b);
}
ULLAGE_INLINE Flags less(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
ULLAGE_INLINE int count(Flags a, Flags b) { return __builtin_popcount(_mm512_kunpackw(a, b)); }
ULLAGE_INLINE Floats select(Flags flags, Floats yes, Floats no) {
  return _mm512_mask_blend_ps(flags, no, yes);
}
ULLAGE_INLINE float largest(Floats x) { return _mm512_reduce_max_ps(x); }
ULLAGE_INLINE float total(Floats x) { return _mm512_reduce_add_ps(x); }

template <bool kTotal>
ULLAGE_INLINE Floats joined(Floats a, Floats b) {
  return kTotal ? add(a, b) : max(a, b);
}
// Blocks of 4 lanes: the first half of each operand with its second half, or even with odd blocks.
template <bool kTotal>
ULLAGE_INLINE Floats joined_halves(Floats a, Floats b) {
  return joined<kTotal>(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
}
template <bool kTotal>
ULLAGE_INLINE Floats joined_blocks(Floats a, Floats b) {
  return joined<kTotal>(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
}
// The total or the largest of each of kRowTile rows of lanes: two vectors become one, three times, so
// that all rows end up in one and are done together.
template <bool kTotal>
ULLAGE_INLINE Floats join_rows(const float* rows) {
  static_assert(kRowTile == 8);
  Floats pairs[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    pairs[i] =
        joined_halves<kTotal>(load(rows + 2 * i * kLanes), load(rows + (2 * i + 1) * kLanes));
  const Floats low = joined_blocks<kTotal>(pairs[0], pairs[1]);   // block i: row i
  const Floats high = joined_blocks<kTotal>(pairs[2], pairs[3]);  // row 4 + i
  // Block i: two lanes of row i, two of row 4 + i.
  const Floats both =
      joined<kTotal>(_mm512_shuffle_ps(low, high, 0x44), _mm512_shuffle_ps(low, high, 0xEE));
  const Floats each = joined<kTotal>(both, _mm512_permute_ps(both, 0xB1));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 4, 8, 12, 2, 6, 10, 14);
  return _mm512_permutexvar_ps(order, each);
}
ULLAGE_INLINE Floats largest_of_rows(const float* rows) { return join_rows<false>(rows); }
ULLAGE_INLINE Floats total_of_rows(const float* rows) { return join_rows<true>(rows); }

// Lanes that hold columns [begin, end) when lane 0 holds column `first`.
ULLAGE_INLINE Flags columns_within(int first, int begin, int end) {
  const __m512i column =
      _mm512_add_epi32(_mm512_set1_epi32(first),
                       _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  return _mm512_cmpge_epi32_mask(column, _mm512_set1_epi32(begin)) &
         _mm512_cmplt_epi32_mask(column, _mm512_set1_epi32(end));
}

// Lanes whose range [begin, end) holds `column`.
ULLAGE_INLINE Flags ranges_holding(const std::int32_t* begin, const std::int32_t* end, int column) {
  const __m512i here = _mm512_set1_epi32(column);
  return _mm512_cmple_epi32_mask(_mm512_loadu_si512(begin), here) &
         _mm512_cmpgt_epi32_mask(_mm512_loadu_si512(end), here);
}

// x = floor(x) + fraction; -infinity has fraction 0.
ULLAGE_INLINE Floats fraction_of(Floats x) { return _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF); }
// a 2^floor(x)
ULLAGE_INLINE Floats scale_by_power(Floats a, Floats x) { return _mm512_scalef_ps(a, x); }

}  // namespace

}  // namespace ullage::attention
