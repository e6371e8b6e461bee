// What the loops on AVX2 with FMA share.
#pragma once

#include <immintrin.h>

#include <cstdint>

#define ULLAGE_AVX2 __attribute__((target("avx2,fma")))

namespace ullage::spectrum {

// Eight stored numbers as FP32.
ULLAGE_AVX2 inline __m256 load(const std::uint16_t* values) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
ULLAGE_AVX2 inline __m256 load(const float* values) { return _mm256_loadu_ps(values); }
ULLAGE_AVX2 inline __m256 load(const double* values) {
  return _mm256_set_m128(_mm256_cvtpd_ps(_mm256_loadu_pd(values + 4)),
                         _mm256_cvtpd_ps(_mm256_loadu_pd(values)));
}

}  // namespace ullage::spectrum
