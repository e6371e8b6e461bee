// Forward substitution with an 8 x 8 triangle, a vector of columns in registers at a time.
#include "spectrum/vector_body.h"
#include "ullage/spectrum/panels.h"

namespace ullage::spectrum {

namespace {

constexpr int kRows = 8;

template <int kBytes>
ULLAGE_BODY void solve_columns(const double* r, std::ptrdiff_t stride_r, double* y,
                               std::ptrdiff_t stride_y, int columns) {
  using V = VectorOf<double, kBytes>::type;
  constexpr int kLanes = VectorOf<double, kBytes>::kLanes;
  double inverse[kRows];
  for (int i = 0; i < kRows; ++i) inverse[i] = 1.0 / r[i * stride_r + i];
  for (int c = 0; c < columns; c += kLanes) {
    V rows[kRows];
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      rows[i] = *reinterpret_cast<const V*>(y + i * stride_y + c);
#pragma GCC unroll 8
      for (int s = 0; s < i; ++s) rows[i] -= rows[s] * r[s * stride_r + i];
      rows[i] *= inverse[i];
      *reinterpret_cast<V*>(y + i * stride_y + c) = rows[i];
    }
  }
}

}  // namespace

void solve_portable(const double* r, std::ptrdiff_t stride_r, double* y, std::ptrdiff_t stride_y,
                    int columns) noexcept {
  solve_columns<16>(r, stride_r, y, stride_y, columns);
}

ULLAGE_TARGET_AVX2 void solve_avx2(const double* r, std::ptrdiff_t stride_r, double* y,
                                   std::ptrdiff_t stride_y, int columns) noexcept {
  solve_columns<32>(r, stride_r, y, stride_y, columns);
}

ULLAGE_TARGET_AVX512 void solve_avx512(const double* r, std::ptrdiff_t stride_r, double* y,
                                       std::ptrdiff_t stride_y, int columns) noexcept {
  solve_columns<64>(r, stride_r, y, stride_y, columns);
}

}  // namespace ullage::spectrum
