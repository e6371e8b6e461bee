// What the threads of a block do together.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ullage/spectrum/gram.h"

namespace ullage::cuda {

inline constexpr int kWarp = 32;

__device__ inline double warp_sum(double x) {
  for (int half = kWarp / 2; half > 0; half /= 2) x += __shfl_xor_sync(0xFFFFFFFFU, x, half);
  return x;
}

// The sum over all threads, the same bits in each; `scratch` holds a number a warp. Ends in a barrier.
__device__ inline double block_sum(double x, double* scratch) {
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  x = warp_sum(x);
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = x;
  __syncthreads();
  double sum = 0.0;
  for (int w = 0; w < warps; ++w) sum += scratch[w];
  __syncthreads();
  return sum;
}

__device__ inline float from_bf16(std::uint16_t bits) {
  return __uint_as_float(static_cast<std::uint32_t>(bits) << 16);
}

// Element `at` of rows of any type, exactly.
__device__ inline double element_of(const void* values, spectrum::Element element,
                                    std::ptrdiff_t at) {
  switch (element) {
    case spectrum::Element::bf16:
      return static_cast<double>(from_bf16(static_cast<const std::uint16_t*>(values)[at]));
    case spectrum::Element::f32:
      return static_cast<double>(static_cast<const float*>(values)[at]);
    case spectrum::Element::f64:
      break;
  }
  return static_cast<const double*>(values)[at];
}

}  // namespace ullage::cuda
