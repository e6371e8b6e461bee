// Gram kernels on AVX512 (F, BW, DQ, VL): tiles of 8 x 32 FP32 or 8 x 16 FP64 sums in registers.
//
// On Zen 4 (one 512-bit multiply-add a cycle) tiles from 8 x 16 to 12 x 32 all reach 100-110 of 118
// GFLOP/s; 8 x 32 and 8 x 16 cover every padded head width and cut the triangle finely.
#include "spectrum/gram_kernels.h"
#include "spectrum/gram_tiles.h"
#include "spectrum/vectors_avx512.h"

namespace ullage::spectrum {

namespace {

// Sixteen FP32 or eight FP64 numbers, and what a tile does with them.
template <class T>
struct Lanes;
template <>
struct Lanes<float> {
  using Vector = __m512;
  static constexpr int kCount = 16;
};
template <>
struct Lanes<double> {
  using Vector = __m512d;
  static constexpr int kCount = 8;
};

ULLAGE_AVX512 inline __m512 load_whole(const float* values) { return _mm512_loadu_ps(values); }
ULLAGE_AVX512 inline __m512d load_whole(const double* values) { return _mm512_loadu_pd(values); }
ULLAGE_AVX512 inline __m512 repeat(float value) { return _mm512_set1_ps(value); }
ULLAGE_AVX512 inline __m512d repeat(double value) { return _mm512_set1_pd(value); }
ULLAGE_AVX512 inline __m512 multiply_add(__m512 x, __m512 y, __m512 sum) {
  return _mm512_fmadd_ps(x, y, sum);
}
ULLAGE_AVX512 inline __m512d multiply_add(__m512d x, __m512d y, __m512d sum) {
  return _mm512_fmadd_pd(x, y, sum);
}

// kVectors vectors of rows of b against 8 rows of a.
template <int kVectors, class T>
ULLAGE_AVX512 void tile(const T* a, int stride_a, const T* b, int stride_b, int columns, Sums keep,
                        double* out, int out_stride) {
  using Vector = typename Lanes<T>::Vector;
  constexpr int kCount = Lanes<T>::kCount;
  Vector sums[8][kVectors];
#pragma GCC unroll 8
  for (auto& row : sums) {
#pragma GCC unroll 2
    for (Vector& sum : row) sum = repeat(T{0});
  }
  for (int c = 0; c < columns; ++c) {
    Vector right[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) right[v] = load_whole(b + kCount * v);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const Vector left = repeat(a[i]);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sums[i][v] = multiply_add(left, right[v], sums[i][v]);
    }
    a += stride_a;
    b += stride_b;
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) put(out + i * out_stride + kCount * v, sums[i][v], keep);
  }
}

ULLAGE_AVX512 void product_f32(const float* a, int stride_a, int rows_a, const float* b,
                               int stride_b, int rows_b, int columns, Part part, Sums keep,
                               double* out) {
  for_each_tile(padded_rows(rows_a), padded_rows(rows_b), part, [&](int i, int j, bool wide) {
    const int out_stride = padded_rows(rows_b);
    (wide ? tile<2, float> : tile<1, float>)(a + i, stride_a, b + j, stride_b, columns, keep,
                                             out + i * out_stride + j, out_stride);
  });
}

ULLAGE_AVX512 void product_f64(const double* a, int stride_a, int rows_a, const double* b,
                               int stride_b, int rows_b, int columns, Part part, Sums keep,
                               double* out) {
  for_each_tile(padded_rows(rows_a), padded_rows(rows_b), part, [&](int i, int j, bool wide) {
    const int out_stride = padded_rows(rows_b);
    for (int half = 0; half < (wide ? 2 : 1); ++half) {
      const int column = j + 16 * half;
      tile<2>(a + i, stride_a, b + column, stride_b, columns, keep, out + i * out_stride + column,
              out_stride);
    }
  });
}

// 16 x 16 transpose of 32-bit elements in four rounds of interleaving.
ULLAGE_AVX512 void transpose(__m512i (&rows)[16]) {
  __m512i half[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    half[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
    half[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      rows[4 * i + 2 * k] = _mm512_unpacklo_epi64(half[4 * i + k], half[4 * i + 2 + k]);
      rows[4 * i + 2 * k + 1] = _mm512_unpackhi_epi64(half[4 * i + k], half[4 * i + 2 + k]);
    }
  }
  // rows[4 i + c] holds column c (of each group of four) of rows 4 i .. 4 i + 3.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    half[c] = _mm512_shuffle_i32x4(rows[c], rows[4 + c], 0x88);
    half[4 + c] = _mm512_shuffle_i32x4(rows[c], rows[4 + c], 0xdd);
    half[8 + c] = _mm512_shuffle_i32x4(rows[8 + c], rows[12 + c], 0x88);
    half[12 + c] = _mm512_shuffle_i32x4(rows[8 + c], rows[12 + c], 0xdd);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    rows[c] = _mm512_shuffle_i32x4(half[c], half[8 + c], 0x88);
    rows[8 + c] = _mm512_shuffle_i32x4(half[c], half[8 + c], 0xdd);
    rows[4 + c] = _mm512_shuffle_i32x4(half[4 + c], half[12 + c], 0x88);
    rows[12 + c] = _mm512_shuffle_i32x4(half[4 + c], half[12 + c], 0xdd);
  }
}

// Rows lie so far apart that no hardware prefetcher follows all of them.
constexpr int kPrefetchColumns = kPairPanelColumns;

// 16 rows from `row`, 32 BF16 columns from `column`, as pairs: vector p holds columns 2 p, 2 p + 1.
ULLAGE_AVX512 void load_pairs(const Block<std::uint16_t>& block, int row, int column,
                              __m512i (&pairs)[16]) {
  const int left = block.columns - column;
  const __mmask32 mask = left >= 32 ? ~__mmask32{0} : (__mmask32{1} << left) - 1;
  const std::uint16_t* source = block.values + row * block.stride + column;
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) {
    pairs[r] = row + r < block.rows ? _mm512_maskz_loadu_epi16(mask, source + r * block.stride)
                                    : _mm512_setzero_si512();
    // A prefetch never faults: beyond the last panel it fetches what is not used.
    _mm_prefetch(reinterpret_cast<const char*>(source + r * block.stride + kPrefetchColumns),
                 _MM_HINT_T1);
  }
  transpose(pairs);
}

ULLAGE_AVX512 void pack_bf16(const Block<std::uint16_t>& block, float* panel, int stride) {
  float gain[kPanelColumns + 1] = {};
  for (int c = 0; c < block.columns; ++c) gain[c] = block.gain[c];
  for (int column = 0; column < block.columns; column += 32) {
    for (int row = 0; row < padded_rows(block.rows); row += 16) {
      __m512i pairs[16];
      load_pairs(block, row, column, pairs);
      const __m512 minus = _mm512_loadu_ps(block.minus + row);
      float* out = panel + column * stride + row;
#pragma GCC unroll 16
      for (int p = 0; p < 16; ++p) {
        const int c = column + 2 * p;
        const __m512 even = _mm512_castsi512_ps(_mm512_slli_epi32(pairs[p], 16));
        const __m512 odd = _mm512_castsi512_ps(
            _mm512_and_si512(pairs[p], _mm512_set1_epi32(static_cast<int>(0xffff0000U))));
        _mm512_storeu_ps(out + 2 * p * stride,
                         _mm512_fmsub_ps(even, _mm512_set1_ps(gain[c]), minus));
        _mm512_storeu_ps(out + (2 * p + 1) * stride,
                         _mm512_fmsub_ps(odd, _mm512_set1_ps(gain[c + 1]), minus));
      }
    }
  }
}

ULLAGE_AVX512 void pack_f32(const Block<float>& block, float* panel, int stride) {
  for (int column = 0; column < block.columns; column += 16) {
    const int left = block.columns - column;
    const __mmask16 mask = mask_of(left);
    for (int row = 0; row < padded_rows(block.rows); row += 16) {
      const float* source = block.values + row * block.stride + column;
      __m512i rows[16];
#pragma GCC unroll 16
      for (int r = 0; r < 16; ++r) {
        rows[r] = row + r < block.rows
                      ? _mm512_castps_si512(_mm512_maskz_loadu_ps(mask, source + r * block.stride))
                      : _mm512_setzero_si512();
      }
      transpose(rows);
      const __m512 minus = _mm512_loadu_ps(block.minus + row);
      float* out = panel + column * stride + row;
      for (int c = 0; c < 16; ++c) {
        const __m512 gain = _mm512_set1_ps(c < left ? block.gain[column + c] : 0.0F);
        _mm512_storeu_ps(out + c * stride,
                         _mm512_fmsub_ps(_mm512_castsi512_ps(rows[c]), gain, minus));
      }
    }
  }
}

ULLAGE_AVX512 double sum_of(__m512 sums) {
  return _mm512_reduce_add_pd(_mm512_add_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(sums)),
                                            _mm512_cvtps_pd(_mm512_extractf32x8_ps(sums, 1))));
}

template <class T>
ULLAGE_AVX512 double square_sum(const T* row, int columns, const float* gain, float minus) {
  constexpr int kBlock = 16 * kPanelColumns;
  double sum = 0.0;
  for (int begin = 0; begin < columns; begin += kBlock) {
    const int end = begin + kBlock < columns ? begin + kBlock : columns;
    __m512 sums = _mm512_setzero_ps();
    for (int c = begin; c < end; c += 16) {
      const __mmask16 mask = mask_of(end - c);
      const __m512 x = _mm512_maskz_fmsub_ps(
          mask, load(row + c, mask), _mm512_maskz_loadu_ps(mask, gain + c), _mm512_set1_ps(minus));
      sums = _mm512_fmadd_ps(x, x, sums);
    }
    sum += sum_of(sums);
  }
  return sum;
}

template <class T>
ULLAGE_AVX512 double sum(const T* row, int columns, const float* gain) {
  __m512 sums = _mm512_setzero_ps();
  for (int c = 0; c < columns; c += 16) {
    const __mmask16 mask = mask_of(columns - c);
    sums = _mm512_fmadd_ps(load(row + c, mask), _mm512_maskz_loadu_ps(mask, gain + c), sums);
  }
  return sum_of(sums);
}

ULLAGE_AVX512 void pack_pairs(const Block<std::uint16_t>& block, std::uint32_t* panel, int stride) {
  for (int column = 0; column < block.columns; column += 32) {
    for (int row = 0; row < padded_rows(block.rows); row += 16) {
      __m512i pairs[16];
      load_pairs(block, row, column, pairs);
      std::uint32_t* out = panel + column / 2 * stride + row;
#pragma GCC unroll 16
      for (int p = 0; p < 16; ++p) _mm512_storeu_si512(out + p * stride, pairs[p]);
    }
  }
}

}  // namespace

const GramKernels kAvx512Gram = {
    .pack_bf16 = pack_bf16,
    .pack_f32 = pack_f32,
    .product_f32 = product_f32,
    .product_f64 = product_f64,
    .pack_pairs = pack_pairs,
    .square_sum_bf16 = square_sum<std::uint16_t>,
    .square_sum_f32 = square_sum<float>,
    .sum_bf16 = sum<std::uint16_t>,
    .sum_f32 = sum<float>,
};

}  // namespace ullage::spectrum
