// Gram kernels on AVX512-BF16: what vdpbf16ps adds to the AVX512 table, at twice FP32's rate.
//
// vdpbf16ps multiplies two BF16 pairs exactly and adds both products to an FP32 sum, rounding to
// nearest after each addition; subnormal inputs and results become zero.
#include "spectrum/gram_kernels.h"
#include "spectrum/gram_tiles.h"
#include "spectrum/vectors_avx512.h"

namespace ullage::spectrum {

namespace {

#define ULLAGE_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")))

template <int kVectors>
ULLAGE_BF16 void tile(const std::uint32_t* a, int stride_a, const std::uint32_t* b, int stride_b,
                      int pairs, Sums keep, double* out, int out_stride) {
  __m512 sums[8][kVectors];
#pragma GCC unroll 8
  for (auto& row : sums) {
#pragma GCC unroll 2
    for (__m512& sum : row) sum = _mm512_setzero_ps();
  }
  for (int p = 0; p < pairs; ++p) {
    __m512bh right[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      right[v] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b + 16 * v));
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const auto left = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(a[i])));
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        sums[i][v] = _mm512_dpbf16_ps(sums[i][v], left, right[v]);
      }
    }
    a += stride_a;
    b += stride_b;
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) put(out + i * out_stride + 16 * v, sums[i][v], keep);
  }
}

void product_pairs(const std::uint32_t* a, int stride_a, int rows_a, const std::uint32_t* b,
                   int stride_b, int rows_b, int pairs, Part part, Sums keep, double* out) {
  const int out_stride = padded_rows(rows_b);
  for_each_tile(padded_rows(rows_a), out_stride, part, [&](int i, int j, bool wide) {
    (wide ? tile<2> : tile<1>)(a + i, stride_a, b + j, stride_b, pairs, keep,
                               out + i * out_stride + j, out_stride);
  });
}

ULLAGE_BF16 void fold_pairs(const std::uint32_t* pairs, int rows, int stride, int columns,
                            const float* gain, const float* minus, float* panel) {
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000U));
  for (int c = 0; c < columns; c += 2) {
    const __m512 even_gain = _mm512_set1_ps(gain[c]);
    const __m512 odd_gain = _mm512_set1_ps(c + 1 < columns ? gain[c + 1] : 0.0F);
    const std::uint32_t* source = pairs + c / 2 * stride;
    float* even = panel + c * stride;
    float* odd = c + 1 < columns ? even + stride : nullptr;
    for (int row = 0; row < padded_rows(rows); row += 16) {
      const __m512i both = _mm512_loadu_si512(source + row);
      const __m512 mean = _mm512_loadu_ps(minus + row);
      _mm512_storeu_ps(even + row, _mm512_fmsub_ps(_mm512_castsi512_ps(_mm512_slli_epi32(both, 16)),
                                                   even_gain, mean));
      if (odd == nullptr) continue;
      _mm512_storeu_ps(odd + row, _mm512_fmsub_ps(_mm512_castsi512_ps(_mm512_and_si512(both, high)),
                                                  odd_gain, mean));
    }
  }
}

ULLAGE_BF16 void pairs_of_f32(const float* panel, int stride, int rows, const float* gain,
                              std::uint32_t* pairs, int columns) {
  // Numbers i and 16 + i beside each other.
  const __m512i halves = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i interleave = _mm512_or_si512(
      halves, _mm512_slli_epi32(_mm512_add_epi32(halves, _mm512_set1_epi32(16)), 16));
  for (int c = 0; c < columns; c += 2) {
    const __m512 even_gain = _mm512_set1_ps(gain[c]);
    const __m512 odd_gain = _mm512_set1_ps(c + 1 < columns ? gain[c + 1] : 0.0F);
    const float* even = panel + c * stride;
    const float* odd = c + 1 < columns ? even + stride : even;
    for (int row = 0; row < padded_rows(rows); row += 16) {
      const __m512bh both =
          _mm512_cvtne2ps_pbh(_mm512_mul_ps(_mm512_loadu_ps(odd + row), odd_gain),
                              _mm512_mul_ps(_mm512_loadu_ps(even + row), even_gain));
      _mm512_storeu_si512(pairs + c / 2 * stride + row,
                          _mm512_permutexvar_epi16(interleave, reinterpret_cast<__m512i>(both)));
    }
  }
}

}  // namespace

const GramKernels& bf16_gram() {
  static const GramKernels table = [] {
    GramKernels kernels = kAvx512Gram;
    kernels.product_pairs = product_pairs;
    kernels.fold_pairs = fold_pairs;
    kernels.pairs_of_f32 = pairs_of_f32;
    return kernels;
  }();
  return table;
}

}  // namespace ullage::spectrum
