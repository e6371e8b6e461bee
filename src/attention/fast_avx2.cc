// Fast attention on AVX2: FP32, BF16 tensors widened.
#define ULLAGE_TARGET __attribute__((target("avx2,fma")))
#include "attention/fast_avx2-inl.h"

namespace ullage::attention {

namespace {

constexpr int kPair = 1;
constexpr int kPowerTerms = 6;

using Operand = Floats;

ULLAGE_INLINE Operand load_operand(const Word* from) {
  return _mm256_castsi256_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
ULLAGE_INLINE Operand broadcast_operand(Word word) {
  return _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(word)));
}
ULLAGE_INLINE Floats multiply_add(Operand a, Operand b, Floats sum) { return fma(a, b, sum); }
ULLAGE_INLINE void store_weights(Word* to, Floats x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_castps_si256(x));
}

}  // namespace

}  // namespace ullage::attention

#include "attention/fast_table-inl.h"

namespace ullage::attention {

const FastKernels kAvx2Attention = kernels_of_path("avx2");

}  // namespace ullage::attention
