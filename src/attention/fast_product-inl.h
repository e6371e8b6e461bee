// One register tile of a matrix product, kRowTile x kPanel, and where packed operands lie.
#pragma once

#include "attention/fast_kernels.h"

namespace ullage::attention {

namespace {

constexpr int kPanel = kVectors * kLanes;

enum class Into : std::uint8_t {
  store,   // C = A B
  add,     // C = C + A B
  scaled,  // C = factor of the row C + A B
};

// A's word of row i at step k is a[i * kRow + k * kStep]; B's vectors follow one another.
template <int kRow, int kStep, Into kInto>
ULLAGE_INLINE void product_tile(const Word* a, const Word* b, int steps, float* c, int c_stride,
                                const float* factors) {
  Floats sums[kRowTile][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kRowTile; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sums[i][v] = zeros();
  }
  for (int k = 0; k < steps; ++k) {
    Operand right[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) right[v] = load_operand(b + v * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRowTile; ++i) {
      const Operand left = broadcast_operand(a[i * kRow]);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sums[i][v] = multiply_add(left, right[v], sums[i][v]);
    }
    a += kStep;
    b += kPanel;
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRowTile; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      float* place = c + i * c_stride + v * kLanes;
      if constexpr (kInto == Into::add) sums[i][v] = add(sums[i][v], load(place));
      if constexpr (kInto == Into::scaled)
        sums[i][v] = fma(load(place), all(factors[i]), sums[i][v]);
      store(place, sums[i][v]);
    }
  }
}

}  // namespace

}  // namespace ullage::attention
