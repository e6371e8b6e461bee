// Rows times eight vectors on AVX512-BF16: vdpbf16ps multiplies neighbouring columns of both, as they lie.
#include <algorithm>

#include "spectrum/matvec.h"
#include "spectrum/vectors_avx512.h"

namespace ullage::spectrum {

namespace {

#define ULLAGE_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")))

constexpr int kLanes = 32;      // BF16 numbers of a vector
constexpr int kColumns = 1024;  // of x narrowed at a time: 16 KiB, which stay in the first cache

ULLAGE_BF16 inline __m512bh load(const std::uint16_t* values, int left) {
  const __mmask32 mask = left >= kLanes ? ~__mmask32{0} : (__mmask32{1} << left) - 1;
  return reinterpret_cast<__m512bh>(_mm512_maskz_loadu_epi16(mask, values));
}

// y += of kRows rows over `columns` columns, x narrowed at [vector][kColumns].
template <int kRows>
ULLAGE_BF16 void add_rows(const std::uint16_t* rows, std::ptrdiff_t stride, int columns,
                          const std::uint16_t* x, float* y) {
  __m512 sums[kRows][kMatvecBlock];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kMatvecBlock; ++v) sums[r][v] = _mm512_setzero_ps();
  }
  for (int c = 0; c < columns; c += kLanes) {
    __m512bh weights[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) weights[r] = load(rows + r * stride + c, columns - c);
#pragma GCC unroll 8
    for (int v = 0; v < kMatvecBlock; ++v) {
      const auto vector = reinterpret_cast<__m512bh>(_mm512_loadu_si512(x + v * kColumns + c));
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], weights[r], vector);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kMatvecBlock; ++v) {
      y[r * kMatvecBlock + v] += _mm512_reduce_add_ps(sums[r][v]);
    }
  }
}

}  // namespace

ULLAGE_BF16 void paired_multiply(const std::uint16_t* rows, std::ptrdiff_t stride, int count,
                                 int width, const float* x, float* y) {
  alignas(64) std::uint16_t narrow[kMatvecBlock * kColumns];
  std::fill_n(y, static_cast<std::ptrdiff_t>(count) * kMatvecBlock, 0.0F);
  for (int begin = 0; begin < width; begin += kColumns) {
    const int columns = std::min(kColumns, width - begin);
    for (int v = 0; v < kMatvecBlock; ++v) {
      const float* from = x + static_cast<std::ptrdiff_t>(v) * width + begin;
      for (int c = 0; c < kColumns; c += 16) {
        const int left = columns - c;
        const __m512 values = left > 0 ? load(from + c, mask_of(left)) : _mm512_setzero_ps();
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(narrow + v * kColumns + c),
                            reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(values)));
      }
    }
    int r = 0;
    for (; r + 3 <= count; r += 3) {
      add_rows<3>(rows + r * stride + begin, stride, columns, narrow, y + r * kMatvecBlock);
    }
    for (; r < count; ++r) {
      add_rows<1>(rows + r * stride + begin, stride, columns, narrow, y + r * kMatvecBlock);
    }
  }
}

}  // namespace ullage::spectrum
