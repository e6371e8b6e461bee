// FP32 parts of panels.h: tiles of 8 x 16 sums, eight vectors of them in registers at a time, and Sturm counts.
#include <cstdint>

#include "spectrum/panel_bodies.h"
#include "spectrum/vector_body.h"

namespace ullage::spectrum {

namespace {

template <int kBytes, bool kSubtract>
ULLAGE_BODY void tile(const float* a, std::ptrdiff_t stride_a, const float* b,
                      std::ptrdiff_t stride_b, int depth, float* c, std::ptrdiff_t stride_c) {
  using V = typename VectorOf<float, kBytes>::type;
  constexpr int kLanes = VectorOf<float, kBytes>::kLanes;
  constexpr int kVectors = 16 / kLanes;
  constexpr int kRows = 8 / kVectors;
  for (int first = 0; first < 8; first += kRows) {
    V sums[kRows][kVectors];
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        sums[i][v] = *reinterpret_cast<const V*>(c + (first + i) * stride_c + v * kLanes);
    }
    for (int k = 0; k < depth; ++k) {
      const float* left = a + k * stride_a + first;
      V right[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        right[v] = *reinterpret_cast<const V*>(b + k * stride_b + v * kLanes);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          if constexpr (kSubtract) {
            sums[i][v] -= right[v] * left[i];
          } else {
            sums[i][v] += right[v] * left[i];
          }
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        *reinterpret_cast<V*>(c + (first + i) * stride_c + v * kLanes) = sums[i][v];
    }
  }
}

// Signs of the leading minors by their three-term recurrence: as many eigenvalues lie below x as neighbours differ in sign.
template <int kBytes>
ULLAGE_BODY void sturm(const float* diagonal, const float* off_squares, int n, const float* x,
                       float* below) {
  using V = typename VectorOf<float, kBytes>::type;
  using Bits = typename VectorOf<std::uint32_t, kBytes>::type;
  constexpr int kLanes = VectorOf<float, kBytes>::kLanes;
  constexpr int kVectors = kSturmLanes / kLanes < 4 ? kSturmLanes / kLanes : 4;
  constexpr std::uint32_t kMagnitude = 0x7fffffff;
  for (int first = 0; first < kSturmLanes; first += kVectors * kLanes) {
    V at[kVectors], before[kVectors], current[kVectors];
    Bits count[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      at[i] = *reinterpret_cast<const V*>(x + first + i * kLanes);
      before[i] = at[i] - at[i] + 1.0F;
      current[i] = diagonal[0] - at[i];
      count[i] = reinterpret_cast<Bits>(current[i]) >> 31;
    }
    for (int k = 1; k < n; ++k) {
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) {
        const V next = (diagonal[k] - at[i]) * current[i] - off_squares[k - 1] * before[i];
        count[i] += (reinterpret_cast<Bits>(next) ^ reinterpret_cast<Bits>(current[i])) >> 31;
        before[i] = current[i];
        current[i] = next;
      }
      if (k % 4 != 0) continue;
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) {
        const V a = reinterpret_cast<V>(reinterpret_cast<Bits>(before[i]) & kMagnitude),
                b = reinterpret_cast<V>(reinterpret_cast<Bits>(current[i]) & kMagnitude);
        const V unit = 1.0F / (a < b ? b : a);
        before[i] *= unit;
        current[i] *= unit;
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i)
      *reinterpret_cast<V*>(below + first + i * kLanes) = __builtin_convertvector(count[i], V);
  }
}

#define ULLAGE_STURM_PATH(name, attribute, bytes)                                             \
  attribute void name(const float* diagonal, const float* off_squares, int n, const float* x, \
                      float* below) noexcept {                                                \
    sturm<bytes>(diagonal, off_squares, n, x, below);                                         \
  }

#define ULLAGE_TILE_PATH(name, attribute, bytes)                               \
  template <bool kSubtract>                                                    \
  attribute void name(const float* a, std::ptrdiff_t stride_a, const float* b, \
                      std::ptrdiff_t stride_b, int depth, float* c,            \
                      std::ptrdiff_t stride_c) noexcept {                      \
    tile<bytes, kSubtract>(a, stride_a, b, stride_b, depth, c, stride_c);      \
  }

ULLAGE_TILE_PATH(tile_portable, , 16)
ULLAGE_TILE_PATH(tile_avx2, ULLAGE_TARGET_AVX2, 32)
ULLAGE_TILE_PATH(tile_avx512, ULLAGE_TARGET_AVX512, 64)

#undef ULLAGE_TILE_PATH

}  // namespace

ULLAGE_STURM_PATH(single_sturm_portable, , 16)
ULLAGE_STURM_PATH(single_sturm_avx2, ULLAGE_TARGET_AVX2, 32)
ULLAGE_STURM_PATH(single_sturm_avx512, ULLAGE_TARGET_AVX512, 64)

#undef ULLAGE_STURM_PATH

const TileKernels<float> kSingleTilesPortable = {tile_portable<false>, tile_portable<true>,
                                                 solve_portable<float>};
const TileKernels<float> kSingleTilesAvx2 = {tile_avx2<false>, tile_avx2<true>, solve_avx2<float>};
const TileKernels<float> kSingleTilesAvx512 = {tile_avx512<false>, tile_avx512<true>,
                                               solve_avx512<float>};

}  // namespace ullage::spectrum
