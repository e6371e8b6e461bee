// Forward substitution with an 8 x 8 triangle, a vector of columns in registers at a time.
#include "spectrum/panel_bodies.h"
#include "spectrum/vector_body.h"

namespace ullage::spectrum {

namespace {

constexpr int kRows = 8;

// At least eight columns: vectors of FP32 are no longer than that.
template <class T, int kBytes>
ULLAGE_BODY void solve_columns(const T* r, std::ptrdiff_t stride_r, T* y, std::ptrdiff_t stride_y,
                               int columns) {
  constexpr int kMost = kRows * static_cast<int>(sizeof(T));
  using V = typename VectorOf<T, (kBytes < kMost ? kBytes : kMost)>::type;
  constexpr int kLanes = VectorOf<T, (kBytes < kMost ? kBytes : kMost)>::kLanes;
  T inverse[kRows];
  for (int i = 0; i < kRows; ++i) inverse[i] = T(1) / r[i * stride_r + i];
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

#define ULLAGE_SOLVE_PATH(name, attribute, bytes)                                         \
  template <class T>                                                                      \
  attribute void name(const T* r, std::ptrdiff_t stride_r, T* y, std::ptrdiff_t stride_y, \
                      int columns) noexcept {                                             \
    solve_columns<T, bytes>(r, stride_r, y, stride_y, columns);                           \
  }                                                                                       \
  template void name<double>(const double*, std::ptrdiff_t, double*, std::ptrdiff_t,      \
                             int) noexcept;                                               \
  template void name<float>(const float*, std::ptrdiff_t, float*, std::ptrdiff_t, int) noexcept;

ULLAGE_SOLVE_PATH(solve_portable, , 16)
ULLAGE_SOLVE_PATH(solve_avx2, ULLAGE_TARGET_AVX2, 32)
ULLAGE_SOLVE_PATH(solve_avx512, ULLAGE_TARGET_AVX512, 64)

#undef ULLAGE_SOLVE_PATH

}  // namespace ullage::spectrum
