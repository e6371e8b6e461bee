// AVX2 vectors for the kernels' bodies. The including file defines ULLAGE_TARGET.
#pragma once

#include <immintrin.h>

#include "attention/fast_kernels.h"

#define ULLAGE_INLINE inline __attribute__((always_inline)) ULLAGE_TARGET

namespace ullage::attention {

namespace {

constexpr int kLanes = 8;
// 12 sums, 2 columns and a broadcast in 16 registers.
constexpr int kRowTile = 6;
constexpr int kVectors = 2;
constexpr int kQueryBlock = 48;
constexpr int kKeyTile = 96;

using Floats = __m256;
using Flags = __m256;  // all bits of a lane, or none

ULLAGE_INLINE Floats load(const float* from) { return _mm256_loadu_ps(from); }
ULLAGE_INLINE void store(float* to, Floats x) { _mm256_storeu_ps(to, x); }
// One number a row of a tile, in the first kRowTile lanes.
ULLAGE_INLINE __m256i tile_lanes() { return _mm256_setr_epi32(-1, -1, -1, -1, -1, -1, 0, 0); }
ULLAGE_INLINE Floats load_tile(const float* from) { return _mm256_maskload_ps(from, tile_lanes()); }
ULLAGE_INLINE void store_tile(float* to, Floats x) { _mm256_maskstore_ps(to, tile_lanes(), x); }
ULLAGE_INLINE Floats all(float x) { return _mm256_set1_ps(x); }
ULLAGE_INLINE Floats zeros() { return _mm256_setzero_ps(); }
ULLAGE_INLINE Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
ULLAGE_INLINE Floats sub(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
ULLAGE_INLINE Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
ULLAGE_INLINE Floats div(Floats a, Floats b) { return _mm256_div_ps(a, b); }
ULLAGE_INLINE Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
// b where either is NaN.
ULLAGE_INLINE Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
ULLAGE_INLINE Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }
ULLAGE_INLINE Floats abs(Floats a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), a); }
ULLAGE_INLINE Floats with_sign_of(Floats size, Floats sign) {
  return _mm256_or_ps(abs(size), _mm256_and_ps(_mm256_set1_ps(-0.0F), sign));
}
ULLAGE_INLINE Flags equal(Floats a, Floats b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
// True where either is NaN; the others take b, or its square, where flags are set.
ULLAGE_INLINE Flags differ(Floats a, Floats b) { return _mm256_cmp_ps(a, b, _CMP_NEQ_UQ); }
ULLAGE_INLINE Floats add_where(Flags flags, Floats a, Floats b) {
  return _mm256_add_ps(a, _mm256_and_ps(flags, b));
}
ULLAGE_INLINE Floats add_square_where(Flags flags, Floats a, Floats b) {
  const Floats kept = _mm256_and_ps(flags, b);
  return _mm256_fmadd_ps(kept, kept, a);
}
ULLAGE_INLINE Floats max_where(Flags flags, Floats a, Floats b) {
  return _mm256_blendv_ps(a, _mm256_max_ps(a, b), flags);
}
ULLAGE_INLINE Flags less(Floats a, Floats b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
ULLAGE_INLINE int count(Flags a, Flags b) {
  return __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(a)) << 8 |
                            static_cast<unsigned>(_mm256_movemask_ps(b)));
}
ULLAGE_INLINE Floats select(Flags flags, Floats yes, Floats no) {
  return _mm256_blendv_ps(no, yes, flags);
}
ULLAGE_INLINE float largest(Floats x) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}
ULLAGE_INLINE float total(Floats x) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

// The largest or the total of each of kRowTile rows of lanes.
ULLAGE_INLINE Floats largest_of_rows(const float* rows) {
  alignas(32) float out[kLanes] = {};
  for (int i = 0; i < kRowTile; ++i) out[i] = largest(load(rows + i * kLanes));
  return load(out);
}
ULLAGE_INLINE Floats total_of_rows(const float* rows) {
  alignas(32) float out[kLanes] = {};
  for (int i = 0; i < kRowTile; ++i) out[i] = total(load(rows + i * kLanes));
  return load(out);
}

// Lanes that hold columns [begin, end) when lane 0 holds column `first`.
ULLAGE_INLINE Flags columns_within(int first, int begin, int end) {
  const __m256i column =
      _mm256_add_epi32(_mm256_set1_epi32(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  return _mm256_castsi256_ps(
      _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(begin), column),
                          _mm256_cmpgt_epi32(_mm256_set1_epi32(end), column)));
}

// Lanes whose range [begin, end) holds `column`.
ULLAGE_INLINE Flags ranges_holding(const std::int32_t* begin, const std::int32_t* end, int column) {
  const __m256i here = _mm256_set1_epi32(column);
  const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(begin));
  const __m256i last = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(end));
  return _mm256_castsi256_ps(
      _mm256_andnot_si256(_mm256_cmpgt_epi32(first, here), _mm256_cmpgt_epi32(last, here)));
}

// Powers below this are zero.
constexpr float kLeastPower = -127;

// x = floor(x) + fraction.
ULLAGE_INLINE Floats fraction_of(Floats x) {
  const Floats kept = max(all(kLeastPower), x);
  return sub(kept, _mm256_floor_ps(kept));
}
// a 2^floor(x) for x < 128, by adding to the exponent; a is in [1, 2] or NaN.
ULLAGE_INLINE Floats scale_by_power(Floats a, Floats x) {
  const Floats kept = max(all(kLeastPower), x);
  const __m256i power = _mm256_cvtps_epi32(_mm256_floor_ps(kept));
  return mul(a, _mm256_castsi256_ps(
                    _mm256_slli_epi32(_mm256_add_epi32(power, _mm256_set1_epi32(127)), 23)));
}

}  // namespace

}  // namespace ullage::attention
