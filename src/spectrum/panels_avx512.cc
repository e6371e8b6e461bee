// Kernels on AVX512F and DQ: tiles of 8 x 16 FP64 sums in 16 registers.
// GCC 12's own headers pass "undefined" vectors to masked built-ins and warn of it (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "spectrum/panel_bodies.h"

namespace ullage::spectrum {

namespace {

template <bool kSubtract>
__attribute__((target("avx512f"))) void tile(const double* a, std::ptrdiff_t stride_a,
                                             const double* b, std::ptrdiff_t stride_b, int depth,
                                             double* c, std::ptrdiff_t stride_c) noexcept {
  __m512d sums[8][2];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    sums[i][0] = _mm512_loadu_pd(c + i * stride_c);
    sums[i][1] = _mm512_loadu_pd(c + i * stride_c + 8);
  }
  for (int k = 0; k < depth; ++k) {
    const __m512d low = _mm512_loadu_pd(b);
    const __m512d high = _mm512_loadu_pd(b + 8);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const __m512d left = _mm512_set1_pd(a[i]);
      if constexpr (kSubtract) {
        sums[i][0] = _mm512_fnmadd_pd(left, low, sums[i][0]);
        sums[i][1] = _mm512_fnmadd_pd(left, high, sums[i][1]);
      } else {
        sums[i][0] = _mm512_fmadd_pd(left, low, sums[i][0]);
        sums[i][1] = _mm512_fmadd_pd(left, high, sums[i][1]);
      }
    }
    a += stride_a;
    b += stride_b;
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    _mm512_storeu_pd(c + i * stride_c, sums[i][0]);
    _mm512_storeu_pd(c + i * stride_c + 8, sums[i][1]);
  }
}

#define ULLAGE_AVX512 __attribute__((target("avx512f,avx512dq")))

// Lane i of the result: the sum of the lanes of sums[i].
ULLAGE_AVX512 inline __m512d sums_of(const __m512d* sums) {
  __m512d pairs[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    pairs[i] = _mm512_add_pd(_mm512_unpacklo_pd(sums[2 * i], sums[2 * i + 1]),
                             _mm512_unpackhi_pd(sums[2 * i], sums[2 * i + 1]));
  }
  // 128-bit parts hold (sum 2i, sum 2i + 1) of two lanes each: add the four parts of each pair.
  const __m512d low = _mm512_add_pd(_mm512_shuffle_f64x2(pairs[0], pairs[1], 0x88),
                                    _mm512_shuffle_f64x2(pairs[0], pairs[1], 0xdd));
  const __m512d high = _mm512_add_pd(_mm512_shuffle_f64x2(pairs[2], pairs[3], 0x88),
                                     _mm512_shuffle_f64x2(pairs[2], pairs[3], 0xdd));
  return _mm512_add_pd(_mm512_shuffle_f64x2(low, high, 0x88),
                       _mm512_shuffle_f64x2(low, high, 0xdd));
}

ULLAGE_AVX512 void reflect(double* a, std::ptrdiff_t stride, int first, int n, const double* v,
                           const double* w, const double* next, double* p) noexcept {
  for (int i = first; i < n; i += 8) {
    double* rows = a + i * stride;
    __m512d sums[8];
#pragma GCC unroll 8
    for (int r = 0; r < 8; ++r) sums[r] = _mm512_setzero_pd();
    for (int c = i; c < n; c += 8) {
      const __m512d vc = _mm512_loadu_pd(v + c);
      const __m512d wc = _mm512_loadu_pd(w + c);
      const __m512d nc = _mm512_loadu_pd(next + c);
      __m512d below = _mm512_setzero_pd();
#pragma GCC unroll 8
      for (int r = 0; r < 8; ++r) {
        double* at = rows + r * stride + c;
        __m512d entry = _mm512_loadu_pd(at);
        entry = _mm512_fnmadd_pd(_mm512_set1_pd(v[i + r]), wc, entry);
        entry = _mm512_fnmadd_pd(_mm512_set1_pd(w[i + r]), vc, entry);
        _mm512_storeu_pd(at, entry);
        sums[r] = _mm512_fmadd_pd(entry, nc, sums[r]);
        below = _mm512_fmadd_pd(entry, _mm512_set1_pd(next[i + r]), below);
      }
      // The block on the diagonal is whole: its lower half is in the rows' own sums.
      if (c > i) _mm512_storeu_pd(p + c, _mm512_add_pd(_mm512_loadu_pd(p + c), below));
    }
    _mm512_storeu_pd(p + i, _mm512_add_pd(_mm512_loadu_pd(p + i), sums_of(sums)));
  }
}

ULLAGE_AVX512 void sturm(const double* diagonal, const double* off_squares, int n, const double* x,
                         double* below) noexcept {
  constexpr int kVectors = kSturmLanes / 8;
  const __m512d one = _mm512_set1_pd(1.0);
  const __m512d zero = _mm512_setzero_pd();
  __m512d at[kVectors], before[kVectors], current[kVectors], count[kVectors];
  __mmask8 negative[kVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kVectors; ++i) {
    at[i] = _mm512_loadu_pd(x + 8 * i);
    before[i] = one;
    current[i] = _mm512_sub_pd(_mm512_set1_pd(diagonal[0]), at[i]);
    negative[i] = _mm512_cmp_pd_mask(current[i], zero, _CMP_LT_OQ);
    count[i] = _mm512_maskz_mov_pd(negative[i], one);
  }
  for (int k = 1; k < n; ++k) {
    const __m512d d = _mm512_set1_pd(diagonal[k]);
    const __m512d e = _mm512_set1_pd(off_squares[k - 1]);
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      const __m512d next =
          _mm512_fmsub_pd(_mm512_sub_pd(d, at[i]), current[i], _mm512_mul_pd(e, before[i]));
      before[i] = current[i];
      current[i] = next;
      const __mmask8 sign = _mm512_cmp_pd_mask(next, zero, _CMP_LT_OQ);
      count[i] = _mm512_mask_add_pd(count[i], _kxor_mask8(sign, negative[i]), count[i], one);
      negative[i] = sign;
    }
    if (k % 8 == 0) {
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) {
        const __m512d unit =
            _mm512_div_pd(one, _mm512_max_pd(_mm512_abs_pd(before[i]), _mm512_abs_pd(current[i])));
        before[i] = _mm512_mul_pd(before[i], unit);
        current[i] = _mm512_mul_pd(current[i], unit);
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kVectors; ++i) _mm512_storeu_pd(below + 8 * i, count[i]);
}

}  // namespace

const PanelKernels kPanelsAvx512 = {{tile<false>, tile<true>, solve_avx512<double>},
                                    &kSingleTilesAvx512,
                                    reflect,
                                    sturm,
                                    single_sturm_avx512};

}  // namespace ullage::spectrum
