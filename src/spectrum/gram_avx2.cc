// Gram kernels on AVX2 with FMA: tiles of 6 x 16 FP32 or 6 x 8 FP64 sums in registers.
#include <immintrin.h>

#include <cstring>

#include "spectrum/gram_kernels.h"

namespace ullage::spectrum {

namespace {

#define ULLAGE_AVX2 __attribute__((target("avx2,fma")))

ULLAGE_AVX2 inline void put(double* place, __m256d sum, Sums keep) {
  _mm256_storeu_pd(place, keep == Sums::first ? sum : _mm256_add_pd(_mm256_loadu_pd(place), sum));
}

template <int kRows>
ULLAGE_AVX2 void tile_f32(const float* a, int stride_a, const float* b, int stride_b, int columns,
                          Sums keep, double* out, int out_stride) {
  __m256 sums[kRows][2];
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) sums[i][0] = sums[i][1] = _mm256_setzero_ps();
  for (int c = 0; c < columns; ++c) {
    const __m256 low = _mm256_loadu_ps(b);
    const __m256 high = _mm256_loadu_ps(b + 8);
#pragma GCC unroll 6
    for (int i = 0; i < kRows; ++i) {
      const __m256 left = _mm256_broadcast_ss(a + i);
      sums[i][0] = _mm256_fmadd_ps(left, low, sums[i][0]);
      sums[i][1] = _mm256_fmadd_ps(left, high, sums[i][1]);
    }
    a += stride_a;
    b += stride_b;
  }
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      double* place = out + i * out_stride + 8 * v;
      const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(sums[i][v]));
      const __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(sums[i][v], 1));
      put(place, low, keep);
      put(place + 4, high, keep);
    }
  }
}

template <int kRows>
ULLAGE_AVX2 void tile_f64(const double* a, int stride_a, const double* b, int stride_b, int columns,
                          Sums keep, double* out, int out_stride) {
  __m256d sums[kRows][2];
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) sums[i][0] = sums[i][1] = _mm256_setzero_pd();
  for (int c = 0; c < columns; ++c) {
    const __m256d low = _mm256_loadu_pd(b);
    const __m256d high = _mm256_loadu_pd(b + 4);
#pragma GCC unroll 6
    for (int i = 0; i < kRows; ++i) {
      const __m256d left = _mm256_broadcast_sd(a + i);
      sums[i][0] = _mm256_fmadd_pd(left, low, sums[i][0]);
      sums[i][1] = _mm256_fmadd_pd(left, high, sums[i][1]);
    }
    a += stride_a;
    b += stride_b;
  }
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      double* place = out + i * out_stride + 4 * v;
      put(place, sums[i][v], keep);
    }
  }
}

// Strips of `width` columns; in a strip, rows by sixes and what is left by twos (padded row counts are even).
template <class T, class Six, class Two>
void product(const T* a, int stride_a, int rows_a, const T* b, int stride_b, int rows_b,
             int columns, Part part, Sums keep, double* out, int width, Six six, Two two) {
  const int out_stride = padded_rows(rows_b);
  for (int j = 0; j < out_stride; j += width) {
    const int last = part == Part::all ? padded_rows(rows_a) : j + width;
    int i = 0;
    for (; i + 6 <= last; i += 6) {
      six(a + i, stride_a, b + j, stride_b, columns, keep, out + i * out_stride + j, out_stride);
    }
    for (; i < last; i += 2) {
      two(a + i, stride_a, b + j, stride_b, columns, keep, out + i * out_stride + j, out_stride);
    }
  }
}

void product_f32(const float* a, int stride_a, int rows_a, const float* b, int stride_b, int rows_b,
                 int columns, Part part, Sums keep, double* out) {
  product(a, stride_a, rows_a, b, stride_b, rows_b, columns, part, keep, out, 16, tile_f32<6>,
          tile_f32<2>);
}

void product_f64(const double* a, int stride_a, int rows_a, const double* b, int stride_b,
                 int rows_b, int columns, Part part, Sums keep, double* out) {
  product(a, stride_a, rows_a, b, stride_b, rows_b, columns, part, keep, out, 8, tile_f64<6>,
          tile_f64<2>);
}

ULLAGE_AVX2 void transpose(__m256i (&rows)[8]) {
  __m256i pairs[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    pairs[2 * i] = _mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
    pairs[2 * i + 1] = _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
  }
  __m256i fours[8];
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      fours[4 * i + 2 * k] = _mm256_unpacklo_epi64(pairs[4 * i + k], pairs[4 * i + 2 + k]);
      fours[4 * i + 2 * k + 1] = _mm256_unpackhi_epi64(pairs[4 * i + k], pairs[4 * i + 2 + k]);
    }
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    rows[c] = _mm256_permute2x128_si256(fours[c], fours[4 + c], 0x20);
    rows[4 + c] = _mm256_permute2x128_si256(fours[c], fours[4 + c], 0x31);
  }
}

// 8 rows of 32 bytes each, zeros beyond the rows and columns that there are.
template <class T>
ULLAGE_AVX2 void load(const Block<T>& block, int row, int column, __m256i (&rows)[8]) {
  constexpr int kLanes = 32 / sizeof(T);
  const int left = block.columns - column;
#pragma GCC unroll 8
  for (int r = 0; r < 8; ++r) {
    const T* source = block.values + (row + r) * block.stride + column;
    if (row + r >= block.rows) {
      rows[r] = _mm256_setzero_si256();
    } else if (left >= kLanes) {
      rows[r] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source));
    } else {
      T tail[kLanes] = {};
      std::memcpy(tail, source, static_cast<std::size_t>(left) * sizeof(T));
      rows[r] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(tail));
    }
  }
  transpose(rows);
}

ULLAGE_AVX2 void store_column(__m256i values, float gain, const float* minus, float* out) {
  _mm256_storeu_ps(out, _mm256_fmsub_ps(_mm256_castsi256_ps(values), _mm256_set1_ps(gain),
                                        _mm256_loadu_ps(minus)));
}

ULLAGE_AVX2 void pack_bf16(const Block<std::uint16_t>& block, float* panel, int stride) {
  float gain[kPanelColumns + 1] = {};
  for (int c = 0; c < block.columns; ++c) gain[c] = block.gain[c];
  for (int column = 0; column < block.columns; column += 16) {
    for (int row = 0; row < padded_rows(block.rows); row += 8) {
      __m256i pairs[8];
      load(block, row, column, pairs);
      float* out = panel + column * stride + row;
#pragma GCC unroll 8
      for (int p = 0; p < 8; ++p) {
        const int c = column + 2 * p;
        store_column(_mm256_slli_epi32(pairs[p], 16), gain[c], block.minus + row,
                     out + 2 * p * stride);
        store_column(_mm256_and_si256(pairs[p], _mm256_set1_epi32(static_cast<int>(0xffff0000U))),
                     gain[c + 1], block.minus + row, out + (2 * p + 1) * stride);
      }
    }
  }
}

ULLAGE_AVX2 void pack_f32(const Block<float>& block, float* panel, int stride) {
  for (int column = 0; column < block.columns; column += 8) {
    for (int row = 0; row < padded_rows(block.rows); row += 8) {
      __m256i rows[8];
      load(block, row, column, rows);
      for (int c = 0; c < 8; ++c) {
        const float gain = column + c < block.columns ? block.gain[column + c] : 0.0F;
        store_column(rows[c], gain, block.minus + row, panel + (column + c) * stride + row);
      }
    }
  }
}

ULLAGE_AVX2 __m256 widen(const std::uint16_t* values) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
ULLAGE_AVX2 __m256 widen(const float* values) { return _mm256_loadu_ps(values); }

ULLAGE_AVX2 double sum_of(__m256 sums) {
  const __m256d four = _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(sums)),
                                     _mm256_cvtps_pd(_mm256_extractf128_ps(sums, 1)));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(two) + _mm_cvtsd_f64(_mm_unpackhi_pd(two, two));
}

// The last columns of a row, filled up with zeros whose gain is zero, so that loops need no tails.
template <class T>
struct Tail {
  T values[8] = {};
  float gain[8] = {};
  Tail(const T* row, const float* gains, int count) {
    std::memcpy(values, row, static_cast<std::size_t>(count) * sizeof(T));
    std::memcpy(gain, gains, static_cast<std::size_t>(count) * sizeof(float));
  }
};

template <class T>
ULLAGE_AVX2 double square_sum(const T* row, int columns, const float* gain, float minus) {
  constexpr int kBlock = 8 * kPanelColumns;
  const int whole = columns / 8 * 8;
  double sum = 0.0;
  for (int begin = 0; begin < whole; begin += kBlock) {
    const int end = begin + kBlock < whole ? begin + kBlock : whole;
    __m256 sums = _mm256_setzero_ps();
    for (int c = begin; c < end; c += 8) {
      const __m256 x =
          _mm256_fmsub_ps(widen(row + c), _mm256_loadu_ps(gain + c), _mm256_set1_ps(minus));
      sums = _mm256_fmadd_ps(x, x, sums);
    }
    sum += sum_of(sums);
  }
  const Tail<T> tail(row + whole, gain + whole, columns - whole);
  float squares[8];
  const __m256 x =
      _mm256_fmsub_ps(widen(tail.values), _mm256_loadu_ps(tail.gain), _mm256_set1_ps(minus));
  _mm256_storeu_ps(squares, _mm256_mul_ps(x, x));
  for (int c = 0; c < columns - whole; ++c) sum += static_cast<double>(squares[c]);
  return sum;
}

template <class T>
ULLAGE_AVX2 double sum(const T* row, int columns, const float* gain) {
  const int whole = columns / 8 * 8;
  const Tail<T> tail(row + whole, gain + whole, columns - whole);
  __m256 sums = _mm256_mul_ps(widen(tail.values), _mm256_loadu_ps(tail.gain));
  for (int c = 0; c < whole; c += 8) {
    sums = _mm256_fmadd_ps(widen(row + c), _mm256_loadu_ps(gain + c), sums);
  }
  return sum_of(sums);
}

}  // namespace

const GramKernels kAvx2Gram = {
    .pack_bf16 = pack_bf16,
    .pack_f32 = pack_f32,
    .product_f32 = product_f32,
    .product_f64 = product_f64,
    .square_sum_bf16 = square_sum<std::uint16_t>,
    .square_sum_f32 = square_sum<float>,
    .sum_bf16 = sum<std::uint16_t>,
    .sum_f32 = sum<float>,
};

}  // namespace ullage::spectrum
