// Means of folded rows, and Grams in FP64 for the sides that ask for one.
#include <cuda_runtime.h>

#include "cuda/block.cuh"
#include "cuda/gram_kernels.h"

namespace ullage::cuda {
namespace {

constexpr int kThreads = 256;

__device__ double folded(const DeviceRows& rows, int row, int column) {
  const double x = element_of(rows.values, rows.element, row * rows.stride + column);
  return rows.gain != nullptr ? x * rows.gain[column] : x;
}

// One block a row. Rounded to FP32, which the fast Gram subtracts: removing what is left of a mean makes a Gram only
// smaller, so every mean gives a valid one.
__global__ void __launch_bounds__(kThreads) row_means(const Side* sides) {
  __shared__ double scratch[kThreads / kWarp];
  const Side& side = sides[blockIdx.x];
  const DeviceRows& rows = side.rows;
  const int row = static_cast<int>(blockIdx.y);
  if (!rows.project_mean || row >= rows.rows) return;
  double sum = 0.0;
  for (int c = static_cast<int>(threadIdx.x); c < rows.width; c += kThreads)
    sum += folded(rows, row, c);
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) side.means[row] = static_cast<float>(sum / rows.width);
}

// A tile of 64 x 64 entries, 4 x 4 a thread; rows interleaved so that a warp's loads meet in no bank.
constexpr int kTile = 64;
constexpr int kDepth = 32;  // columns of a panel
constexpr int kSide = 16;   // threads along an edge
constexpr int kEach = kTile / kSide;

struct PrecisePanel {
  double entries[kDepth][kTile + 1];

  __device__ void load(const Side& side, int first, int column) {
    const DeviceRows& rows = side.rows;
    for (int at = static_cast<int>(threadIdx.x); at < kTile * kDepth; at += kThreads) {
      const int row = first + at / kDepth;
      const int c = column + at % kDepth;
      double x = 0.0;
      if (row < rows.rows && c < rows.width) {
        x = folded(rows, row, c);
        if (rows.project_mean) x -= static_cast<double>(side.means[row]);
      }
      entries[at % kDepth][at / kDepth] = x;
    }
  }
};

__global__ void __launch_bounds__(kThreads) precise_grams(const Side* sides) {
  __shared__ PrecisePanel left;
  __shared__ PrecisePanel right;
  const Side& side = sides[blockIdx.x];
  if (side.state->wanted == 0) return;
  // The blockIdx.y-th tile on or above the diagonal, counted by columns of tiles.
  int tile = static_cast<int>(blockIdx.y);
  int column_tile = 0;
  while (tile > column_tile) tile -= ++column_tile;
  const int first_x = tile * kTile;
  const int first_y = column_tile * kTile;
  const int extent = extent_of(side.rows.rows);
  if (first_y >= extent) return;
  const int tx = static_cast<int>(threadIdx.x) % kSide;
  const int ty = static_cast<int>(threadIdx.x) / kSide;
  double sums[kEach][kEach] = {};
  for (int column = 0; column < side.rows.width; column += kDepth) {
    __syncthreads();
    left.load(side, first_x, column);
    right.load(side, first_y, column);
    __syncthreads();
#pragma unroll 8
    for (int c = 0; c < kDepth; ++c) {
      double x[kEach];
      double y[kEach];
      for (int i = 0; i < kEach; ++i) x[i] = left.entries[c][ty + kSide * i];
      for (int j = 0; j < kEach; ++j) y[j] = right.entries[c][tx + kSide * j];
      for (int i = 0; i < kEach; ++i) {
        for (int j = 0; j < kEach; ++j) sums[i][j] = fma(x[i], y[j], sums[i][j]);
      }
    }
  }
  for (int i = 0; i < kEach; ++i) {
    for (int j = 0; j < kEach; ++j) {
      const int row = first_x + ty + kSide * i;
      const int column = first_y + tx + kSide * j;
      if (row > column || column >= extent) continue;
      side.gram[row * extent + column] = sums[i][j];
      side.gram[column * extent + row] = sums[i][j];
    }
  }
}

}  // namespace

cudaError_t launch_means(const Side* sides, const Shape& shape, cudaStream_t stream) {
  if (!shape.any_mean) return cudaSuccess;
  row_means<<<dim3(shape.sides, shape.rows), kThreads, 0, stream>>>(sides);
  return cudaGetLastError();
}

cudaError_t launch_precise_grams(const Side* sides, const Shape& shape, cudaStream_t stream) {
  const int tiles = (shape.rows + kTile - 1) / kTile;
  precise_grams<<<dim3(shape.sides, tiles * (tiles + 1) / 2), kThreads, 0, stream>>>(sides);
  return cudaGetLastError();
}

}  // namespace ullage::cuda
