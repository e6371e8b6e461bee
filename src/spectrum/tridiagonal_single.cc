// The Householder reduction in FP32, one body for all CPU paths: half the bytes of FP64, which is what bounds it.
#include <algorithm>
#include <cmath>

#include "spectrum/lanczos.h"
#include "spectrum/single.h"
#include "spectrum/vector_body.h"
#include "ullage/base/cpu.h"
#include "ullage/spectrum/tridiagonal.h"

namespace ullage::spectrum {

namespace {

// What lives from one step to the next, `padded` entries each. a - v w^T - w v^T is still to be made of a.
struct Work {
  float* a;
  std::ptrdiff_t stride;
  int size;
  int padded;
  float *v, *w, *next, *p;
};

// Rows from `first` on, kVectors vectors of columns: brought up to date, then p = a^T next. Both triangles are kept, so
// that no sum runs along a row.
template <int kBytes, int kVectors>
ULLAGE_BODY void reflect_columns(float* a, std::ptrdiff_t stride, int first, int size,
                                 const float* v, const float* w, const float* next,
                                 const float* v_columns, const float* w_columns, float* p) {
  using V = typename VectorOf<float, kBytes>::type;
  constexpr int kLanes = VectorOf<float, kBytes>::kLanes;
  V v_here[kVectors], w_here[kVectors], sums[kVectors] = {};
#pragma GCC unroll 4
  for (int x = 0; x < kVectors; ++x) {
    v_here[x] = *reinterpret_cast<const V*>(v_columns + x * kLanes);
    w_here[x] = *reinterpret_cast<const V*>(w_columns + x * kLanes);
  }
  for (int i = first; i < size; ++i) {
    float* row = a + i * stride;
#pragma GCC unroll 4
    for (int x = 0; x < kVectors; ++x) {
      V entry = *reinterpret_cast<const V*>(row + x * kLanes);
      entry -= w_here[x] * v[i];
      entry -= v_here[x] * w[i];
      *reinterpret_cast<V*>(row + x * kLanes) = entry;
      sums[x] += entry * next[i];
    }
  }
#pragma GCC unroll 4
  for (int x = 0; x < kVectors; ++x) *reinterpret_cast<V*>(p + x * kLanes) = sums[x];
}

template <int kBytes>
ULLAGE_BODY void steps(const Work& work, double* diagonal, double* off_diagonal) {
  constexpr int kLanes = VectorOf<float, kBytes>::kLanes;
  const int n = work.size;
  float *const v = work.v, *const w = work.w, *const next = work.next, *const p = work.p;
  for (int k = 0; k < n; ++k) {
    float* row = work.a + k * work.stride;
    for (int j = k; j < n; ++j) row[j] -= v[k] * w[j] + w[k] * v[j];
    diagonal[k] = static_cast<double>(row[k]);
    if (k + 1 == n) return;

    // H = I - tau next next^T takes (row k beyond the diagonal) to (beta, 0, ..., 0).
    const auto left = static_cast<std::size_t>(n - k - 1);
    const auto tail = static_cast<double>(lane_dot(row + k + 2, row + k + 2, left - 1));
    const auto head = static_cast<double>(row[k + 1]);
    std::fill_n(next, work.padded, 0.0F);
    double tau = 0.0;
    double beta = head;
    if (tail > 1e-30) {
      beta = -std::copysign(std::sqrt(head * head + tail), head);
      tau = 1.0 / (beta * (beta - head));
      std::copy(row + k + 2, row + n, next + k + 2);
      next[k + 1] = static_cast<float>(head - beta);
    }
    off_diagonal[k] = beta;

    int c = (k + 1) / kLanes * kLanes;
    for (; c + 4 * kLanes <= work.padded; c += 4 * kLanes) {
      reflect_columns<kBytes, 4>(work.a + c, work.stride, k + 1, n, v, w, next, v + c, w + c,
                                 p + c);
    }
    for (; c < work.padded; c += kLanes) {
      reflect_columns<kBytes, 1>(work.a + c, work.stride, k + 1, n, v, w, next, v + c, w + c,
                                 p + c);
    }
    const auto inner = static_cast<double>(lane_dot(p + k + 1, next + k + 1, left));
    const auto turn = static_cast<float>(tau);
    const auto half = static_cast<float>(0.5 * tau * inner);
    for (int j = 0; j <= k; ++j) v[j] = w[j] = 0.0F;
    for (int j = k + 1; j < n; ++j) {
      v[j] = next[j];
      w[j] = turn * (p[j] - half * next[j]);
    }
  }
}

void steps_portable(const Work& work, double* diagonal, double* off_diagonal) {
  steps<16>(work, diagonal, off_diagonal);
}
ULLAGE_TARGET_AVX2 void steps_avx2(const Work& work, double* diagonal, double* off_diagonal) {
  steps<32>(work, diagonal, off_diagonal);
}
ULLAGE_TARGET_AVX512 void steps_avx512(const Work& work, double* diagonal, double* off_diagonal) {
  steps<64>(work, diagonal, off_diagonal);
}

}  // namespace

Tridiagonal tridiagonalise_single(const Matrix& s) {
  const int n = s.rows();
  Tridiagonal out;
  out.diagonal.resize(static_cast<std::size_t>(n));
  out.off_diagonal.resize(static_cast<std::size_t>(std::max(n - 1, 0)));
  if (n == 0) return out;
  SingleSymmetric m(s);
  const auto padded = static_cast<std::size_t>(m.padded());
  std::vector<float> vectors(4 * padded);
  const Work work{m.data(),
                  m.stride(),
                  n,
                  m.padded(),
                  vectors.data(),
                  vectors.data() + padded,
                  vectors.data() + 2 * padded,
                  vectors.data() + 3 * padded};
  switch (cpu_path()) {
    case CpuPath::portable:
      steps_portable(work, out.diagonal.data(), out.off_diagonal.data());
      break;
    case CpuPath::avx2:
      steps_avx2(work, out.diagonal.data(), out.off_diagonal.data());
      break;
    case CpuPath::avx512:
    case CpuPath::avx512_bf16:
      steps_avx512(work, out.diagonal.data(), out.off_diagonal.data());
      break;
  }
  const double unit = std::ldexp(1.0, 2 * m.half_exponent());
  for (double& value : out.diagonal) value *= unit;
  for (double& value : out.off_diagonal) value *= unit;
  return out;
}

std::vector<double> estimated_eigenvalues(const Matrix& s) {
  return s.rows() > kSingleFrom ? eigenvalues_single(tridiagonalise_single(s))
                                : eigenvalues(tridiagonalise(Square(s)));
}

}  // namespace ullage::spectrum
