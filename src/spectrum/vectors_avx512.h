// What the loops on AVX512 (F, BW, DQ, VL), with BF16 products or without, share.
#pragma once

// GCC 12's own headers pass "undefined" vectors to masked built-ins and warn of it (GCC bug 105593), in whatever these
// are inlined into: off for the rest of the file.
#pragma GCC diagnostic ignored "-Wuninitialized"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <cstdint>

#include "spectrum/gram_kernels.h"

#define ULLAGE_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))

namespace ullage::spectrum {

// The first `left` of sixteen.
ULLAGE_AVX512 inline __mmask16 mask_of(int left) {
  return static_cast<__mmask16>(left >= 16 ? 0xffff : (1 << left) - 1);
}

// Stored numbers as FP32, zeros where the mask is.
ULLAGE_AVX512 inline __m512 load(const std::uint16_t* values, __mmask16 mask) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, values)), 16));
}
ULLAGE_AVX512 inline __m512 load(const float* values, __mmask16 mask) {
  return _mm512_maskz_loadu_ps(mask, values);
}
ULLAGE_AVX512 inline __m512 load(const double* values, __mmask16 mask) {
  const auto low = static_cast<__mmask8>(mask & 0xff);
  const auto high = static_cast<__mmask8>(mask >> 8);
  const __m256 first = _mm512_cvtpd_ps(_mm512_maskz_loadu_pd(low, values));
  const __m256 second =
      _mm512_cvtpd_ps(_mm512_maskz_loadu_pd(high, high == 0 ? values : values + 8));
  return _mm512_insertf32x8(_mm512_castps256_ps512(first), second, 1);
}

// Sums of a panel into those of a product.
ULLAGE_AVX512 inline void put(double* place, __m512d sums, Sums keep) {
  _mm512_storeu_pd(place, keep == Sums::first ? sums : _mm512_add_pd(_mm512_loadu_pd(place), sums));
}
ULLAGE_AVX512 inline void put(double* place, __m512 sums, Sums keep) {
  put(place, _mm512_cvtps_pd(_mm512_castps512_ps256(sums)), keep);
  put(place + 8, _mm512_cvtps_pd(_mm512_extractf32x8_ps(sums, 1)), keep);
}

}  // namespace ullage::spectrum
