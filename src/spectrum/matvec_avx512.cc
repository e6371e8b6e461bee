// Matrix-vector products on AVX512: rows against eight vectors at once are bound by multiply-adds, not memory.
#include "spectrum/matvec.h"
#include "spectrum/vectors_avx512.h"

namespace ullage::spectrum {

namespace {

template <class T, int kRows, int kBlock>
ULLAGE_AVX512 void multiply_rows_of(const T* rows, std::ptrdiff_t stride, int width, const float* x,
                                    float* y) {
  __m512 sums[kRows][kBlock];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kBlock; ++v) sums[r][v] = _mm512_setzero_ps();
  }
  for (int c = 0; c < width; c += 16) {
    const __mmask16 mask = mask_of(width - c);
    __m512 weights[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) weights[r] = load(rows + r * stride + c, mask);
#pragma GCC unroll 8
    for (int v = 0; v < kBlock; ++v) {
      const __m512 vector =
          _mm512_maskz_loadu_ps(mask, x + static_cast<std::ptrdiff_t>(v) * width + c);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        sums[r][v] = _mm512_fmadd_ps(weights[r], vector, sums[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kBlock; ++v) y[r * kBlock + v] = _mm512_reduce_add_ps(sums[r][v]);
  }
}

template <class T, int kBlock>
ULLAGE_AVX512 void multiply(const T* rows, std::ptrdiff_t stride, int count, int width,
                            const float* x, float* y) {
  constexpr int kRows = kBlock == 1 ? 8 : 3;
  int r = 0;
  for (; r + kRows <= count; r += kRows) {
    multiply_rows_of<T, kRows, kBlock>(rows + r * stride, stride, width, x, y + r * kBlock);
  }
  for (; r < count; ++r) {
    multiply_rows_of<T, 1, kBlock>(rows + r * stride, stride, width, x, y + r * kBlock);
  }
}

template <class T, int kBlock>
ULLAGE_AVX512 void add_transposed(const T* rows, std::ptrdiff_t stride, int count, int width,
                                  const float* y, float* out) {
  constexpr int kVectors = kBlock == 1 ? 8 : 2;  // of sixteen columns at a time
  for (int c = 0; c < width; c += 16 * kVectors) {
    __mmask16 masks[kVectors];
    __m512 sums[kBlock][kVectors];
#pragma GCC unroll 8
    for (int k = 0; k < kVectors; ++k) {
      const int left = width - c - 16 * k;
      masks[k] = mask_of(left > 0 ? left : 0);
#pragma GCC unroll 8
      for (int v = 0; v < kBlock; ++v) {
        sums[v][k] = _mm512_maskz_loadu_ps(
            masks[k], out + static_cast<std::ptrdiff_t>(v) * width + c + 16 * k);
      }
    }
    for (int r = 0; r < count; ++r) {
      const T* row = rows + r * stride + c;
      __m512 weights[kVectors];
#pragma GCC unroll 8
      for (int k = 0; k < kVectors; ++k) weights[k] = load(row + 16 * k, masks[k]);
#pragma GCC unroll 8
      for (int v = 0; v < kBlock; ++v) {
        const __m512 factor = _mm512_set1_ps(y[r * kBlock + v]);
#pragma GCC unroll 8
        for (int k = 0; k < kVectors; ++k) {
          sums[v][k] = _mm512_fmadd_ps(weights[k], factor, sums[v][k]);
        }
      }
    }
#pragma GCC unroll 8
    for (int v = 0; v < kBlock; ++v) {
#pragma GCC unroll 8
      for (int k = 0; k < kVectors; ++k) {
        _mm512_mask_storeu_ps(out + static_cast<std::ptrdiff_t>(v) * width + c + 16 * k, masks[k],
                              sums[v][k]);
      }
    }
  }
}

template <class T>
constexpr MatvecKernels<T> kKernels = {
    {multiply<T, 1>, multiply<T, kMatvecBlock>},
    {add_transposed<T, 1>, add_transposed<T, kMatvecBlock>},
};

}  // namespace

const MatvecTable kAvx512Matvec = {kKernels<std::uint16_t>, kKernels<float>, kKernels<double>};

}  // namespace ullage::spectrum
