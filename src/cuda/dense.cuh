// Small dense FP64 linear algebra by one block of 256 threads: factor, products, the largest eigenvalue.
//
// Matrices are n x n, n a multiple of 16 up to 256, in shared memory where they fit, else in global memory of the
// block's own. Every fused operation is written as one.
#pragma once

#include <cstdint>

#include "cuda/block.cuh"

namespace ullage::cuda {

inline constexpr int kDenseThreads = 256;
inline constexpr int kDenseMost = 256;
inline constexpr int kPanel = 16;  // columns that a factor takes at a time
inline constexpr int kEdge = 16;   // threads along an edge of a tile
inline constexpr int kEach = 4;    // entries a thread along an edge
inline constexpr int kBlockTile = kEdge * kEach;
inline constexpr int kLanczosSteps = 48;

struct DenseScratch {
  double pivots[kPanel][kPanel + 1];
  double sums[kDenseThreads / kWarp];
  double vector[kDenseMost];
  double parts[kDenseThreads];
  double diagonal[kLanczosSteps];
  double off_diagonal[kLanczosSteps];
  int failed;
};

// out(row, column, sum over k < depth of x(row, k) y(column, k)) for this thread's entries of the tile at (i0, j0), rows
// and columns below n. Entries of a thread are kEdge apart, so that neighbours read neighbours.
template <class X, class Y, class Out>
__device__ inline void multiply_tile(int i0, int j0, int n, int depth, X x, Y y, Out out) {
  const int tx = static_cast<int>(threadIdx.x) % kEdge;
  const int ty = static_cast<int>(threadIdx.x) / kEdge;
  double sums[kEach][kEach] = {};
#pragma unroll 4
  for (int k = 0; k < depth; ++k) {
    double left[kEach];
    double right[kEach];
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int row = i0 + ty + kEdge * i;
      const int column = j0 + tx + kEdge * i;
      left[i] = row < n ? x(row, k) : 0.0;
      right[i] = column < n ? y(column, k) : 0.0;
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
#pragma unroll
      for (int j = 0; j < kEach; ++j) sums[i][j] = fma(left[i], right[j], sums[i][j]);
    }
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int row = i0 + ty + kEdge * i;
      const int column = j0 + tx + kEdge * j;
      if (row < n && column < n) out(row, column, sums[i][j]);
    }
  }
}

// In place: the lower triangle of w becomes L with L L^T = w; above the diagonal stands what stood there. False, in
// every thread, where w is not positive definite to working precision (or NaN).
__device__ inline bool factor(double* w, int stride, int n, DenseScratch& scratch) {
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) scratch.failed = 0;
  for (int first = 0; first < n; first += kPanel) {
    __syncthreads();
    // The panel: a thread a row, its 16 entries in registers.
    const int row = first + thread;
    const bool mine = row < n;
    double* from = w + row * stride + first;
    double entries[kPanel];
    if (mine) {
#pragma unroll
      for (int c = 0; c < kPanel; ++c) entries[c] = c <= row - first ? from[c] : 0.0;
    }
#pragma unroll
    for (int c = 0; c < kPanel; ++c) {
      if (thread == c) {
        double square = entries[c];
#pragma unroll
        for (int k = 0; k < c; ++k) square = fma(-entries[k], entries[k], square);
        if (!(square > 0.0)) scratch.failed = 1;
        entries[c] = sqrt(square);
#pragma unroll
        for (int k = 0; k <= c; ++k) scratch.pivots[c][k] = entries[k];
      }
      __syncthreads();
      if (mine && thread > c) {
        double value = entries[c];
#pragma unroll
        for (int k = 0; k < c; ++k) value = fma(-entries[k], scratch.pivots[c][k], value);
        entries[c] = value / scratch.pivots[c][c];
      }
    }
    if (scratch.failed != 0) return false;
    if (mine) {
#pragma unroll
      for (int c = 0; c < kPanel; ++c) {
        if (c <= row - first) from[c] = entries[c];
      }
    }
    __syncthreads();
    // What is left of the matrix takes the panel's products, lower tiles only.
    const auto panel = [&](int r, int c) { return w[r * stride + first + c]; };
    for (int i0 = first + kPanel; i0 < n; i0 += kBlockTile) {
      for (int j0 = first + kPanel; j0 <= i0; j0 += kBlockTile)
        multiply_tile(i0, j0, n, kPanel, panel, panel, [&](int r, int c, double sum) {
          if (c <= r) w[r * stride + c] -= sum;
        });
    }
  }
  __syncthreads();
  return true;
}

// out = a^T b. Ends in a barrier.
__device__ inline void transposed_product(const double* a, int stride_a, const double* b,
                                          int stride_b, double* out, int stride_out, int n) {
  for (int i0 = 0; i0 < n; i0 += kBlockTile) {
    for (int j0 = 0; j0 < n; j0 += kBlockTile)
      multiply_tile(
          i0, j0, n, n, [&](int r, int k) { return a[k * stride_a + r]; },
          [&](int c, int k) { return b[k * stride_b + c]; },
          [&](int r, int c, double sum) { out[r * stride_out + c] = sum; });
  }
  __syncthreads();
}

// How many eigenvalues of a tridiagonal matrix lie below x (Sturm).
__device__ inline int eigenvalues_below(const double* diagonal, const double* off, int n,
                                        double x) {
  int below = 0;
  double d = 1.0;
  for (int i = 0; i < n; ++i) {
    const double square = i == 0 ? 0.0 : off[i - 1] * off[i - 1];
    d = diagonal[i] - x - square / d;
    if (d == 0.0) d = -1e-300;
    below += d < 0.0;
  }
  return below;
}

// Largest eigenvalue of a symmetric positive semidefinite w: an estimate from below by Lanczos' recurrence, the same
// in every thread.
__device__ inline double largest_estimate(const double* w, int stride, int n,
                                          DenseScratch& scratch) {
  const int thread = static_cast<int>(threadIdx.x);
  const int parts = kDenseThreads / n;
  const int row = thread % n;
  const int part = thread / n;
  // A direction with no structure of its own.
  const std::uint32_t mixed = (static_cast<std::uint32_t>(thread) + 1U) * 0x9E3779B9U;
  double current =
      thread < n ? static_cast<double>((mixed ^ (mixed >> 15)) & 0xFFFFU) / 65536.0 - 0.4 : 0.0;
  current /= sqrt(block_sum(current * current, scratch.sums));
  double before = 0.0;
  double beta = 0.0;
  int steps = 0;
  while (steps < kLanczosSteps) {
    if (thread < n) scratch.vector[thread] = current;
    __syncthreads();
    double sum = 0.0;
    if (part < parts) {
#pragma unroll 8
      for (int k = part; k < n; k += parts) sum = fma(w[k * stride + row], scratch.vector[k], sum);
    }
    scratch.parts[thread] = sum;
    __syncthreads();
    double next = 0.0;
    if (thread < n) {
      for (int p = 0; p < parts; ++p) next += scratch.parts[p * n + thread];
    }
    const double alpha = block_sum(next * current, scratch.sums);
    next = next - alpha * current - beta * before;
    beta = sqrt(block_sum(next * next, scratch.sums));
    if (thread == 0) {
      scratch.diagonal[steps] = alpha;
      scratch.off_diagonal[steps] = beta;
    }
    ++steps;
    // The same in every thread: sums come out alike.
    if (!(beta > 1e-14 * fabs(alpha))) break;
    before = current;
    current = next / beta;
  }
  __syncthreads();
  if (thread < kWarp) {
    double low = 0.0;
    double high = 0.0;
    for (int i = 0; i < steps; ++i) {
      const double reach = (i > 0 ? scratch.off_diagonal[i - 1] : 0.0) +
                           (i + 1 < steps ? scratch.off_diagonal[i] : 0.0);
      high = fmax(high, scratch.diagonal[i] + reach);
      low = fmax(low, scratch.diagonal[i]);
    }
    // Each pass leaves one of 33 parts.
    for (int pass = 0; pass < 8; ++pass) {
      const double step = (high - low) / (kWarp + 1);
      const double x = low + step * (thread + 1);
      const bool all = eigenvalues_below(scratch.diagonal, scratch.off_diagonal, steps, x) == steps;
      const std::uint32_t above = __ballot_sync(0xFFFFFFFFU, all);
      const int first = above == 0 ? kWarp : __ffs(static_cast<int>(above)) - 1;
      high = first == kWarp ? high : low + step * (first + 1);
      low = low + step * first;
    }
    if (thread == 0) scratch.parts[0] = low;
  }
  __syncthreads();
  const double estimate = scratch.parts[0];
  __syncthreads();
  return estimate;
}

}  // namespace ullage::cuda
