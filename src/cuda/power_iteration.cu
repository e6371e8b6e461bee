// Power iteration of a pair by one block: v <- B^T (A (A^T (B v))), each side read once an iteration.
//
// A tile is 64 KiB: some columns of all rows. With y known, a tile's columns of u = A^T y need nothing from other
// tiles: each thread multiplies the few rows and columns that it holds, the parts are summed in shared memory, and the
// same registers give the tile's part of A u. Tiles to come are copied while one is used; a thread copies what it will
// read itself, so that tiles need no barrier.
#include <cuda_runtime.h>
#include <math_constants.h>

#include <cstdint>

#include "cuda/block.cuh"
#include "cuda/power_kernels.h"

namespace ullage::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kChunkBytes = 16;
constexpr int kThreadChunks = 8;  // of a tile
constexpr int kTileBytes = kThreads * kThreadChunks * kChunkBytes;
// Numbers of a tile's row and column sums: as many as a thread has columns, or rows, in FP32.
constexpr int kParts = kThreads * 8;
// Below this norm FP32 may have lost products of what is left of a vector.
constexpr double kLeastNorm = 1e-28;

// Numbers of a chunk.
template <class T>
constexpr int kPerChunk = kChunkBytes / static_cast<int>(sizeof(T));
// A thread holds kRows rows of 8 columns: kChunks chunks of each.
template <class T>
constexpr int kChunks = 8 / kPerChunk<T>;
template <class T>
constexpr int kRows = kThreadChunks / kChunks<T>;

struct Shared {
  float parts[kParts];
  float tile[kParts / 8];  // u of a tile's columns
  float left[kMostRows];   // the unit vector that comes in, one number a row
  float right[kMostRows];  // the vector that goes out
  double sums[kThreads / kWarp];
};

__device__ void copy_chunk(void* to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                   static_cast<std::uint32_t>(__cvta_generic_to_shared(to))),
               "l"(from), "r"(bytes)
               : "memory");
}
__device__ void end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kOpen>
__device__ void wait_groups() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kOpen) : "memory");
}

__device__ void unpack(const uint4& chunk, float (&x)[8]) {
  const std::uint32_t word[4] = {chunk.x, chunk.y, chunk.z, chunk.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    x[2 * i] = __uint_as_float(word[i] << 16);
    x[2 * i + 1] = __uint_as_float(word[i] & 0xFFFF0000U);
  }
}
__device__ void unpack(const uint4& chunk, float (&x)[4]) {
  x[0] = __uint_as_float(chunk.x);
  x[1] = __uint_as_float(chunk.y);
  x[2] = __uint_as_float(chunk.z);
  x[3] = __uint_as_float(chunk.w);
}

// One side's rows, tile by tile.
template <class T, int kStages>
class Tiles {
 public:
  // groups: threads side by side along a row; each has 8 columns, in chunks that lie one tile's share apart.
  __device__ Tiles(const DeviceRows& rows, char* stages, int groups, bool whole)
      : values_(static_cast<const T*>(rows.values)),
        stages_(stages),
        stride_(rows.stride),
        rows_(rows.rows),
        width_(rows.width),
        columns_(groups * 8),
        groups_(groups),
        group_(static_cast<int>(threadIdx.x) % groups),
        first_(static_cast<int>(threadIdx.x) / groups * kRows<T>),
        whole_(whole) {}

  __device__ int count() const { return (width_ + columns_ - 1) / columns_; }
  __device__ int width() const { return width_; }
  __device__ int columns() const { return columns_; }
  __device__ int groups() const { return groups_; }
  __device__ int group() const { return group_; }
  __device__ int first_row() const { return first_; }
  // Of a tile: the first column of this thread's chunk.
  __device__ int column(int chunk) const { return (chunk * groups_ + group_) * kPerChunk<T>; }

  // Starts to copy this thread's part of a tile; one group, empty past the last tile.
  __device__ void fetch(int tile) {
    if (tile < count()) {
#pragma unroll
      for (int c = 0; c < kChunks<T>; ++c) {
        const int at = tile * columns_ + column(c);
        const int there = max(0, min(kPerChunk<T>, width_ - at));
        const T* from = values_ + first_ * stride_ + at;
        char* to = place(tile, 0, c);
#pragma unroll
        for (int r = 0; r < kRows<T>; ++r) {
          const int numbers = first_ + r < rows_ ? there : 0;
          if (whole_) {
            copy_chunk(to, numbers > 0 ? from : values_, numbers * static_cast<int>(sizeof(T)));
          } else {
            for (int i = 0; i < kPerChunk<T>; ++i)
              reinterpret_cast<T*>(to)[i] = i < numbers ? from[i] : T{};
          }
          from += stride_;
          to += kChunks<T> * kThreads * kChunkBytes;
        }
      }
    }
    end_group();
  }
  __device__ void begin() {
    // What another pass left may still be read.
    __syncthreads();
#pragma unroll 1
    for (int stage = 0; stage < kStages; ++stage) fetch(stage);
  }
  // This thread's part of a tile, which it has waited for.
  __device__ uint4 chunk(int tile, int r, int c) const {
    return *reinterpret_cast<const uint4*>(place(tile, r, c));
  }

 private:
  __device__ char* place(int tile, int r, int c) const {
    return stages_ + tile % kStages * kTileBytes +
           ((r * kChunks<T> + c) * kThreads + static_cast<int>(threadIdx.x)) * kChunkBytes;
  }
  const T* values_;
  char* stages_;
  std::ptrdiff_t stride_;
  int rows_;
  int width_;
  int columns_;
  int groups_;
  int group_;
  int first_;
  bool whole_;
};

// right[row] = the sum over column groups of a thread's rows; ends in a barrier.
template <class T, int kStages>
__device__ void gather(const Tiles<T, kStages>& tiles, const float (&sums)[kRows<T>],
                       Shared& shared) {
  const int rows = kThreads / tiles.groups() * kRows<T>;
  __syncthreads();
#pragma unroll
  for (int r = 0; r < kRows<T>; ++r)
    shared.parts[tiles.group() * rows + tiles.first_row() + r] = sums[r];
  __syncthreads();
  if (static_cast<int>(threadIdx.x) < rows) {
    float sum = 0.0F;
    for (int g = 0; g < tiles.groups(); ++g) sum += shared.parts[g * rows + threadIdx.x];
    shared.right[threadIdx.x] = sum;
  }
  __syncthreads();
}

// right = W x, x in global memory.
template <class T, int kStages>
__device__ void multiply(Tiles<T, kStages>& tiles, const float* x, Shared& shared) {
  float sums[kRows<T>] = {};
  tiles.begin();
  for (int tile = 0; tile < tiles.count(); ++tile) {
    wait_groups<kStages - 1>();
#pragma unroll
    for (int c = 0; c < kChunks<T>; ++c) {
      const int column = tile * tiles.columns() + tiles.column(c);
      float value[kPerChunk<T>];
#pragma unroll
      for (int i = 0; i < kPerChunk<T>; ++i)
        value[i] = column + i < tiles.width() ? x[column + i] : 0.0F;
#pragma unroll
      for (int r = 0; r < kRows<T>; ++r) {
        float w[kPerChunk<T>];
        unpack(tiles.chunk(tile, r, c), w);
#pragma unroll
        for (int i = 0; i < kPerChunk<T>; ++i) sums[r] = fmaf(w[i], value[i], sums[r]);
      }
    }
    // Others do not read this thread's chunks, and it has.
    tiles.fetch(tile + kStages);
  }
  gather(tiles, sums, shared);
}

// u = W^T left, written to `out` where that is given; right = W u. Returns |u|^2, the same in every thread.
template <class T, int kStages>
__device__ double there_and_back(Tiles<T, kStages>& tiles, float* out, Shared& shared) {
  const int thread = static_cast<int>(threadIdx.x);
  const int row_groups = kThreads / tiles.groups();
  const int row_group = thread / tiles.groups();
  const int columns = tiles.columns();
  float sums[kRows<T>] = {};
  float left[kRows<T>];
#pragma unroll
  for (int r = 0; r < kRows<T>; ++r) left[r] = shared.left[tiles.first_row() + r];
  double square = 0.0;
  tiles.begin();
  for (int tile = 0; tile < tiles.count(); ++tile) {
    wait_groups<kStages - 1>();
#pragma unroll
    for (int c = 0; c < kChunks<T>; ++c) {
      float part[kPerChunk<T>] = {};
#pragma unroll
      for (int r = 0; r < kRows<T>; ++r) {
        float w[kPerChunk<T>];
        unpack(tiles.chunk(tile, r, c), w);
#pragma unroll
        for (int i = 0; i < kPerChunk<T>; ++i) part[i] = fmaf(w[i], left[r], part[i]);
      }
#pragma unroll
      for (int i = 0; i < kPerChunk<T>; ++i)
        shared.parts[row_group * columns + tiles.column(c) + i] = part[i];
    }
    __syncthreads();
    if (thread < columns) {
      float sum = 0.0F;
#pragma unroll 8
      for (int g = 0; g < row_groups; ++g) sum += shared.parts[g * columns + thread];
      shared.tile[thread] = sum;
      square += static_cast<double>(sum) * static_cast<double>(sum);
      const int column = tile * columns + thread;
      if (out != nullptr && column < tiles.width()) out[column] = sum;
    }
    __syncthreads();
#pragma unroll
    for (int c = 0; c < kChunks<T>; ++c) {
      float u[kPerChunk<T>];
#pragma unroll
      for (int i = 0; i < kPerChunk<T>; ++i) u[i] = shared.tile[tiles.column(c) + i];
#pragma unroll
      for (int r = 0; r < kRows<T>; ++r) {
        float w[kPerChunk<T>];
        unpack(tiles.chunk(tile, r, c), w);
#pragma unroll
        for (int i = 0; i < kPerChunk<T>; ++i) sums[r] = fmaf(w[i], u[i], sums[r]);
      }
    }
    tiles.fetch(tile + kStages);
  }
  gather(tiles, sums, shared);
  return block_sum(square, shared.sums);
}

// left = right / |right|; returns the norm.
__device__ double turn_round(Shared& shared) {
  const int thread = static_cast<int>(threadIdx.x);
  const double value = thread < kMostRows ? static_cast<double>(shared.right[thread]) : 0.0;
  const double norm = sqrt(block_sum(value * value, shared.sums));
  if (thread < kMostRows)
    shared.left[thread] = norm > 0.0 ? static_cast<float>(value / norm) : 0.0F;
  __syncthreads();
  return norm;
}

template <class T, int kStages>
__global__ void __launch_bounds__(kThreads, 1)
    iterate(const PowerTask* tasks, int groups, bool whole, int iterations) {
  extern __shared__ __align__(16) char stages[];
  __shared__ Shared shared;
  const PowerTask& task = tasks[blockIdx.x];
  Tiles<T, kStages> query(task.query, stages, groups, whole);
  Tiles<T, kStages> key(task.key, stages, groups, whole);
  if (threadIdx.x < kMostRows) shared.right[threadIdx.x] = 0.0F;

  // |A^T B v| = |B v| |A^T left|, left the unit vector along B v.
  multiply(key, task.direction, shared);
  double norm = turn_round(shared);
  double sigma = norm * sqrt(there_and_back(query, nullptr, shared));
  for (int iteration = 0; iteration < iterations && sigma > 0.0; ++iteration) {
    // left = A u; v = B^T left, not yet of unit length; right = B v.
    const double back = turn_round(shared);
    const double length = sqrt(there_and_back(key, task.scratch, shared));
    norm = turn_round(shared);
    sigma = norm / length * sqrt(there_and_back(query, nullptr, shared));
    if (!(fmin(back, fmin(length, norm)) > kLeastNorm) || !isfinite(sigma)) {
      sigma = CUDART_NAN;
      break;
    }
    if (iteration + 1 < iterations) continue;
    for (int c = static_cast<int>(threadIdx.x); c < task.key.width; c += kThreads)
      task.direction[c] = static_cast<float>(static_cast<double>(task.scratch[c]) / length);
  }
  if (threadIdx.x == 0) *task.sigma = isfinite(sigma) ? sigma : CUDART_NAN;
}

using Kernel = void (*)(const PowerTask*, int, bool, int);
// [FP32][stages: 2, 3]
constexpr Kernel kKernels[2][2] = {{iterate<std::uint16_t, 2>, iterate<std::uint16_t, 3>},
                                   {iterate<float, 2>, iterate<float, 3>}};

Kernel kernel_of(const PowerLaunch& launch) {
  return kKernels[launch.element == spectrum::Element::f32][launch.stages - 2];
}

}  // namespace

bool takes_whole_rows(const DeviceRows& rows) {
  const std::ptrdiff_t bytes = rows.element == spectrum::Element::bf16 ? 2 : 4;
  return (reinterpret_cast<std::uintptr_t>(rows.values) | (rows.stride * bytes)) % kChunkBytes == 0;
}

cudaError_t prepare(PowerLaunch& launch) {
  int device = 0;
  int shared = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  if (const cudaError_t error =
          cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
      error != cudaSuccess)
    return error;
  launch.stages = shared >= 3 * kTileBytes + static_cast<int>(sizeof(Shared)) ? 3 : 2;
  // As many rows as threads along a column hold: a power of two.
  const int each = launch.element == spectrum::Element::bf16 ? kRows<std::uint16_t> : kRows<float>;
  launch.groups = kThreads;
  while (launch.groups > 1 && kThreads / launch.groups * each < launch.rows) launch.groups /= 2;
  // u of a tile has a thread a column.
  while (launch.groups * 8 > kThreads) launch.groups /= 2;
  return cudaFuncSetAttribute(kernel_of(launch), cudaFuncAttributeMaxDynamicSharedMemorySize,
                              launch.stages * kTileBytes);
}

cudaError_t launch_power_iteration(const PowerTask* tasks, const PowerLaunch& launch,
                                   int iterations, cudaStream_t stream) {
  kernel_of(launch)<<<launch.count, kThreads, launch.stages * kTileBytes, stream>>>(
      tasks, launch.groups, launch.whole, iterations);
  return cudaGetLastError();
}

}  // namespace ullage::cuda
