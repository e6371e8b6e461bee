// Fast attention on AVX512: FP32, BF16 tensors widened.
// GCC 12's own headers pass "undefined" vectors to masked built-ins and warn of it (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#define ULLAGE_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#include "attention/fast_avx512-inl.h"

namespace ullage::attention {

namespace {

constexpr int kPair = 1;
constexpr int kPowerTerms = 6;

using Operand = Floats;

ULLAGE_INLINE Operand load_operand(const Word* from) {
  return _mm512_castsi512_ps(_mm512_loadu_si512(from));
}
ULLAGE_INLINE Operand broadcast_operand(Word word) {
  return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(word)));
}
ULLAGE_INLINE Floats multiply_add(Operand a, Operand b, Floats sum) { return fma(a, b, sum); }
ULLAGE_INLINE void store_weights(Word* to, Floats x) {
  _mm512_storeu_si512(to, _mm512_castps_si512(x));
}

}  // namespace

}  // namespace ullage::attention

#include "attention/fast_table-inl.h"

namespace ullage::attention {

const FastKernels kAvx512Attention = kernels_of_path("avx512");

}  // namespace ullage::attention
