// Fast attention on AVX512-BF16: operands and P-bar in BF16, everything else as on AVX512.
//
// vdpbf16ps multiplies two BF16 pairs exactly and adds both products to an FP32 sum, rounding to
// nearest after each addition; subnormal inputs and results become zero.
// GCC 12's own headers pass "undefined" vectors to masked built-ins and warn of it (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#define ULLAGE_TARGET \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")))
#include "attention/fast_avx512-inl.h"

namespace ullage::attention {

namespace {

constexpr int kPair = 2;
constexpr int kPowerTerms = 5;

using Operand = __m512bh;

ULLAGE_INLINE Operand load_operand(const Word* from) {
  return reinterpret_cast<Operand>(_mm512_loadu_si512(from));
}
ULLAGE_INLINE Operand broadcast_operand(Word word) {
  return reinterpret_cast<Operand>(_mm512_set1_epi32(static_cast<int>(word)));
}
ULLAGE_INLINE Floats multiply_add(Operand a, Operand b, Floats sum) {
  return _mm512_dpbf16_ps(sum, a, b);
}
// Neighbouring columns in pairs.
ULLAGE_INLINE void store_weights(Word* to, Floats x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
}

// Two keys' values, lanes queries: neighbouring queries in pairs, a row a key, and the two keys in
// pairs.
ULLAGE_INLINE void store_grad_scores(Word* first, Word* second, Word* keys, Floats a, Floats b) {
  const __m512i both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b, a));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(first), _mm512_castsi512_si256(both));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(second), _mm512_extracti64x4_epi64(both, 1));
  const __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(both));
  const __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(both, 1));
  _mm512_storeu_si512(keys, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}

}  // namespace

}  // namespace ullage::attention

#include "attention/fast_table-inl.h"

namespace ullage::attention {

const FastKernels kBf16Attention = kernels_of_path("avx512_bf16");

}  // namespace ullage::attention
