// Matrix-vector products on AVX2 with FMA.
#include <cstring>

#include "spectrum/matvec.h"
#include "spectrum/vectors_avx2.h"

namespace ullage::spectrum {

namespace {

// The first `count` of eight values, zeros after them.
template <class T>
ULLAGE_AVX2 __m256 load_tail(const T* values, int count) {
  T tail[8] = {};
  std::memcpy(tail, values, static_cast<std::size_t>(count) * sizeof(T));
  return load(tail);
}

ULLAGE_AVX2 inline float sum_of(__m256 sums) {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_shuffle_ps(four, four, 1)));
}

template <class T, int kRows, int kVectors>
ULLAGE_AVX2 void multiply_part(const T* rows, std::ptrdiff_t stride, int width, const float* x,
                               float* y, int y_stride) {
  __m256 sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sums[r][v] = _mm256_setzero_ps();
  }
  const int whole = width / 8 * 8;
  for (int c = 0; c < whole; c += 8) {
    __m256 weights[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) weights[r] = load(rows + r * stride + c);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const __m256 vector = _mm256_loadu_ps(x + static_cast<std::ptrdiff_t>(v) * width + c);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        sums[r][v] = _mm256_fmadd_ps(weights[r], vector, sums[r][v]);
      }
    }
  }
  if (whole < width) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const __m256 vector =
          load_tail(x + static_cast<std::ptrdiff_t>(v) * width + whole, width - whole);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        sums[r][v] = _mm256_fmadd_ps(load_tail(rows + r * stride + whole, width - whole), vector,
                                     sums[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) y[r * y_stride + v] = sum_of(sums[r][v]);
  }
}

template <class T, int kBlock>
ULLAGE_AVX2 void multiply(const T* rows, std::ptrdiff_t stride, int count, int width,
                          const float* x, float* y) {
  // Four vectors at a time: 2 x 4 or 8 x 1 sums, weights and one vector fill the sixteen registers.
  constexpr int kVectors = kBlock == 1 ? 1 : 4;
  constexpr int kRows = kBlock == 1 ? 8 : 2;
  for (int v = 0; v < kBlock; v += kVectors) {
    const float* vectors = x + static_cast<std::ptrdiff_t>(v) * width;
    int r = 0;
    for (; r + kRows <= count; r += kRows) {
      multiply_part<T, kRows, kVectors>(rows + r * stride, stride, width, vectors,
                                        y + r * kBlock + v, kBlock);
    }
    for (; r < count; ++r) {
      multiply_part<T, 1, kVectors>(rows + r * stride, stride, width, vectors, y + r * kBlock + v,
                                    kBlock);
    }
  }
}

template <class T, int kBlock>
ULLAGE_AVX2 void add_transposed(const T* rows, std::ptrdiff_t stride, int count, int width,
                                const float* y, float* out) {
  const int whole = width / 8 * 8;
  for (int c = 0; c < whole; c += 8) {
    __m256 sums[kBlock];
#pragma GCC unroll 8
    for (int v = 0; v < kBlock; ++v) {
      sums[v] = _mm256_loadu_ps(out + static_cast<std::ptrdiff_t>(v) * width + c);
    }
    for (int r = 0; r < count; ++r) {
      const __m256 weights = load(rows + r * stride + c);
#pragma GCC unroll 8
      for (int v = 0; v < kBlock; ++v) {
        sums[v] = _mm256_fmadd_ps(weights, _mm256_broadcast_ss(y + r * kBlock + v), sums[v]);
      }
    }
#pragma GCC unroll 8
    for (int v = 0; v < kBlock; ++v) {
      _mm256_storeu_ps(out + static_cast<std::ptrdiff_t>(v) * width + c, sums[v]);
    }
  }
  for (int c = whole; c < width; ++c) {
    for (int v = 0; v < kBlock; ++v) {
      float sum = out[static_cast<std::ptrdiff_t>(v) * width + c];
      for (int r = 0; r < count; ++r) {
        float weight[8];
        _mm256_storeu_ps(weight, load_tail(rows + r * stride + c, 1));
        sum += weight[0] * y[r * kBlock + v];
      }
      out[static_cast<std::ptrdiff_t>(v) * width + c] = sum;
    }
  }
}

template <class T>
constexpr MatvecKernels<T> kKernels = {
    {multiply<T, 1>, multiply<T, kMatvecBlock>},
    {add_transposed<T, 1>, add_transposed<T, kMatvecBlock>},
};

}  // namespace

const MatvecTable kAvx2Matvec = {kKernels<std::uint16_t>, kKernels<float>, kKernels<double>};

}  // namespace ullage::spectrum
