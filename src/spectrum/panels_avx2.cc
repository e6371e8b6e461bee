// Kernels on AVX2 and FMA: tiles as four blocks of 4 x 8, each with its sums in 8 of 16 registers.
#include "spectrum/panel_bodies.h"
#include "spectrum/vectors_avx2.h"

namespace ullage::spectrum {

namespace {

template <bool kSubtract>
ULLAGE_AVX2 void block(const double* a, std::ptrdiff_t stride_a, const double* b,
                       std::ptrdiff_t stride_b, int depth, double* c,
                       std::ptrdiff_t stride_c) noexcept {
  __m256d sums[4][2];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    sums[i][0] = _mm256_loadu_pd(c + i * stride_c);
    sums[i][1] = _mm256_loadu_pd(c + i * stride_c + 4);
  }
  for (int k = 0; k < depth; ++k) {
    const __m256d low = _mm256_loadu_pd(b);
    const __m256d high = _mm256_loadu_pd(b + 4);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m256d left = _mm256_broadcast_sd(a + i);
      if constexpr (kSubtract) {
        sums[i][0] = _mm256_fnmadd_pd(left, low, sums[i][0]);
        sums[i][1] = _mm256_fnmadd_pd(left, high, sums[i][1]);
      } else {
        sums[i][0] = _mm256_fmadd_pd(left, low, sums[i][0]);
        sums[i][1] = _mm256_fmadd_pd(left, high, sums[i][1]);
      }
    }
    a += stride_a;
    b += stride_b;
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_pd(c + i * stride_c, sums[i][0]);
    _mm256_storeu_pd(c + i * stride_c + 4, sums[i][1]);
  }
}

template <bool kSubtract>
void tile(const double* a, std::ptrdiff_t stride_a, const double* b, std::ptrdiff_t stride_b,
          int depth, double* c, std::ptrdiff_t stride_c) noexcept {
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 16; j += 8) {
      block<kSubtract>(a + i, stride_a, b + j, stride_b, depth, c + i * stride_c + j, stride_c);
    }
  }
}

ULLAGE_AVX2 inline double sum_of(__m256d x) {
  const __m128d half = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
  return _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));
}

ULLAGE_AVX2 void reflect(double* a, std::ptrdiff_t stride, int first, int n, const double* v,
                         const double* w, const double* next, double* p) noexcept {
  for (int block_start = first; block_start < n; block_start += 8) {
    for (int i = block_start; i < block_start + 8; i += 4) {
      double* rows = a + i * stride;
      __m256d sums[4];
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) sums[r] = _mm256_setzero_pd();
      for (int c = block_start; c < n; c += 4) {
        const __m256d vc = _mm256_loadu_pd(v + c);
        const __m256d wc = _mm256_loadu_pd(w + c);
        const __m256d nc = _mm256_loadu_pd(next + c);
        __m256d below = _mm256_setzero_pd();
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r) {
          double* at = rows + r * stride + c;
          __m256d entry = _mm256_loadu_pd(at);
          entry = _mm256_fnmadd_pd(_mm256_broadcast_sd(v + i + r), wc, entry);
          entry = _mm256_fnmadd_pd(_mm256_broadcast_sd(w + i + r), vc, entry);
          _mm256_storeu_pd(at, entry);
          sums[r] = _mm256_fmadd_pd(entry, nc, sums[r]);
          below = _mm256_fmadd_pd(entry, _mm256_broadcast_sd(next + i + r), below);
        }
        // The block on the diagonal is whole: its lower half is in the rows' own sums.
        if (c >= block_start + 8) {
          _mm256_storeu_pd(p + c, _mm256_add_pd(_mm256_loadu_pd(p + c), below));
        }
      }
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) p[i + r] += sum_of(sums[r]);
    }
  }
}

ULLAGE_AVX2 void sturm(const double* diagonal, const double* off_squares, int n, const double* x,
                       double* below) noexcept {
  constexpr int kVectors = 4;  // of 4 lanes: what 16 registers hold
  const __m256d one = _mm256_set1_pd(1.0);
  const __m256d zero = _mm256_setzero_pd();
  const __m256d sign_bit = _mm256_set1_pd(-0.0);
  for (int first = 0; first < kSturmLanes; first += 4 * kVectors) {
    __m256d at[kVectors], before[kVectors], current[kVectors], negative[kVectors], count[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      at[i] = _mm256_loadu_pd(x + first + 4 * i);
      before[i] = one;
      current[i] = _mm256_sub_pd(_mm256_set1_pd(diagonal[0]), at[i]);
      negative[i] = _mm256_cmp_pd(current[i], zero, _CMP_LT_OQ);
      count[i] = _mm256_and_pd(negative[i], one);
    }
    for (int k = 1; k < n; ++k) {
      const __m256d d = _mm256_broadcast_sd(diagonal + k);
      const __m256d e = _mm256_broadcast_sd(off_squares + k - 1);
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) {
        const __m256d next =
            _mm256_fmsub_pd(_mm256_sub_pd(d, at[i]), current[i], _mm256_mul_pd(e, before[i]));
        before[i] = current[i];
        current[i] = next;
        const __m256d sign = _mm256_cmp_pd(next, zero, _CMP_LT_OQ);
        count[i] = _mm256_add_pd(count[i], _mm256_and_pd(_mm256_xor_pd(sign, negative[i]), one));
        negative[i] = sign;
      }
      if (k % 8 == 0) {
#pragma GCC unroll 4
        for (int i = 0; i < kVectors; ++i) {
          const __m256d unit =
              _mm256_div_pd(one, _mm256_max_pd(_mm256_andnot_pd(sign_bit, before[i]),
                                               _mm256_andnot_pd(sign_bit, current[i])));
          before[i] = _mm256_mul_pd(before[i], unit);
          current[i] = _mm256_mul_pd(current[i], unit);
        }
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) _mm256_storeu_pd(below + first + 4 * i, count[i]);
  }
}

}  // namespace

const PanelKernels kPanelsAvx2 = {{tile<false>, tile<true>, solve_avx2<double>},
                                  &kSingleTilesAvx2,
                                  reflect,
                                  sturm,
                                  single_sturm_avx2};

}  // namespace ullage::spectrum
