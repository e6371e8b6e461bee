// Gram kernels on AVX2 with FMA: tiles of 6 x 16 FP32 or 6 x 8 FP64 sums in registers.
#include <cstring>

#include "spectrum/gram_kernels.h"
#include "spectrum/vectors_avx2.h"

namespace ullage::spectrum {

namespace {

// Eight FP32 or four FP64 numbers, and what a tile does with them.
template <class T>
struct Lanes;
template <>
struct Lanes<float> {
  using Vector = __m256;
  static constexpr int kCount = 8;
};
template <>
struct Lanes<double> {
  using Vector = __m256d;
  static constexpr int kCount = 4;
};

ULLAGE_AVX2 inline __m256 load_whole(const float* values) { return _mm256_loadu_ps(values); }
ULLAGE_AVX2 inline __m256d load_whole(const double* values) { return _mm256_loadu_pd(values); }
ULLAGE_AVX2 inline __m256 repeat(const float* value) { return _mm256_broadcast_ss(value); }
ULLAGE_AVX2 inline __m256d repeat(const double* value) { return _mm256_broadcast_sd(value); }
ULLAGE_AVX2 inline __m256 multiply_add(__m256 x, __m256 y, __m256 sum) {
  return _mm256_fmadd_ps(x, y, sum);
}
ULLAGE_AVX2 inline __m256d multiply_add(__m256d x, __m256d y, __m256d sum) {
  return _mm256_fmadd_pd(x, y, sum);
}
ULLAGE_AVX2 inline void put(double* place, __m256d sums, Sums keep) {
  _mm256_storeu_pd(place, keep == Sums::first ? sums : _mm256_add_pd(_mm256_loadu_pd(place), sums));
}
ULLAGE_AVX2 inline void put(double* place, __m256 sums, Sums keep) {
  const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(sums));
  const __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(sums, 1));
  put(place, low, keep);
  put(place + 4, high, keep);
}

// Two vectors of rows of b against kRows rows of a.
template <int kRows, class T>
ULLAGE_AVX2 void tile(const T* a, int stride_a, const T* b, int stride_b, int columns, Sums keep,
                      double* out, int out_stride) {
  using Vector = typename Lanes<T>::Vector;
  constexpr int kCount = Lanes<T>::kCount;
  Vector sums[kRows][2];
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) sums[i][0] = sums[i][1] = Vector{};
  for (int c = 0; c < columns; ++c) {
    const Vector low = load_whole(b);
    const Vector high = load_whole(b + kCount);
#pragma GCC unroll 6
    for (int i = 0; i < kRows; ++i) {
      const Vector left = repeat(a + i);
      sums[i][0] = multiply_add(left, low, sums[i][0]);
      sums[i][1] = multiply_add(left, high, sums[i][1]);
    }
    a += stride_a;
    b += stride_b;
  }
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) put(out + i * out_stride + kCount * v, sums[i][v], keep);
  }
}

// Strips of a tile's columns; in a strip, rows by sixes and what is left by twos (padded row counts are even).
template <class T>
void product(const T* a, int stride_a, int rows_a, const T* b, int stride_b, int rows_b,
             int columns, Part part, Sums keep, double* out) {
  constexpr int kWidth = 2 * Lanes<T>::kCount;
  const int out_stride = padded_rows(rows_b);
  for (int j = 0; j < out_stride; j += kWidth) {
    const int last = part == Part::all ? padded_rows(rows_a) : j + kWidth;
    int i = 0;
    for (; i + 6 <= last; i += 6) {
      tile<6>(a + i, stride_a, b + j, stride_b, columns, keep, out + i * out_stride + j,
              out_stride);
    }
    for (; i < last; i += 2) {
      tile<2>(a + i, stride_a, b + j, stride_b, columns, keep, out + i * out_stride + j,
              out_stride);
    }
  }
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

// Columns of 8 rows of 32 bytes each, zeros beyond the rows and columns that there are.
template <class T>
ULLAGE_AVX2 void load_columns(const Block<T>& block, int row, int column, __m256i (&rows)[8]) {
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
      load_columns(block, row, column, pairs);
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
      load_columns(block, row, column, rows);
      for (int c = 0; c < 8; ++c) {
        const float gain = column + c < block.columns ? block.gain[column + c] : 0.0F;
        store_column(rows[c], gain, block.minus + row, panel + (column + c) * stride + row);
      }
    }
  }
}

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
          _mm256_fmsub_ps(load(row + c), _mm256_loadu_ps(gain + c), _mm256_set1_ps(minus));
      sums = _mm256_fmadd_ps(x, x, sums);
    }
    sum += sum_of(sums);
  }
  const Tail<T> tail(row + whole, gain + whole, columns - whole);
  float squares[8];
  const __m256 x =
      _mm256_fmsub_ps(load(tail.values), _mm256_loadu_ps(tail.gain), _mm256_set1_ps(minus));
  _mm256_storeu_ps(squares, _mm256_mul_ps(x, x));
  for (int c = 0; c < columns - whole; ++c) sum += static_cast<double>(squares[c]);
  return sum;
}

template <class T>
ULLAGE_AVX2 double sum(const T* row, int columns, const float* gain) {
  const int whole = columns / 8 * 8;
  const Tail<T> tail(row + whole, gain + whole, columns - whole);
  __m256 sums = _mm256_mul_ps(load(tail.values), _mm256_loadu_ps(tail.gain));
  for (int c = 0; c < whole; c += 8) {
    sums = _mm256_fmadd_ps(load(row + c), _mm256_loadu_ps(gain + c), sums);
  }
  return sum_of(sums);
}

}  // namespace

const GramKernels kAvx2Gram = {
    .pack_bf16 = pack_bf16,
    .pack_f32 = pack_f32,
    .product_f32 = product<float>,
    .product_f64 = product<double>,
    .square_sum_bf16 = square_sum<std::uint16_t>,
    .square_sum_f32 = square_sum<float>,
    .sum_bf16 = sum<std::uint16_t>,
    .sum_f32 = sum<float>,
};

}  // namespace ullage::spectrum
