// Grams on the tensor cores: BF16 products, FP32 sums of one panel of columns, panels summed in FP64.
//
// A block makes one tile of 128 x 128. Panels of 64 columns of raw weights arrive by asynchronous copies while the
// panel before is multiplied; each thread folds what it copied itself (gain, mean) and cuts it into BF16 pieces that
// add up to the FP32 number: x = high + middle + low. Of the nine products of pieces the six largest are taken,
// smallest first, so that the running sum is small while small terms enter it; what is left out is below 2^-26 of
// |x||y|.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "cuda/block.cuh"
#include "cuda/gram_kernels.h"

namespace ullage::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 128;                          // rows of a tile
constexpr int kChunk = 8;                           // columns that a thread folds at a time
constexpr int kChunks = kPanelColumns / kChunk;     // of a row
constexpr int kTurns = kTile * kChunks / kThreads;  // chunks a thread
constexpr int kPlaneBytes = kTile * kPanelColumns * 2;
constexpr int kRawBytes = kTile * kPanelColumns * 4;  // as FP32
constexpr int kPieces = 3;

// Pairs of pieces, smallest product first; 0 is the high one. With one piece only the last.
struct PiecePair {
  int x, y;
};
constexpr int kPairs = 6;
__constant__ constexpr PiecePair kOrder[kPairs] = {{2, 0}, {0, 2}, {1, 1}, {1, 0}, {0, 1}, {0, 0}};

__device__ std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// 16 bytes, of which the first `bytes` are read and the rest become zero.
__device__ void copy_16(void* to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(bytes)
               : "memory");
}
__device__ void copies_end() { asm volatile("cp.async.wait_all;" ::: "memory"); }

__device__ void load_matrices(std::uint32_t (&r)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

__device__ void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                             std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, "
      "%2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Where 16 bytes of a plane lie: rows of 128 bytes, whose chunks are permuted so that neither stores of a row nor
// loads of a column of chunks meet in a bank.
__device__ int plane_offset(int row, int chunk) {
  return row * (kPanelColumns * 2) + ((chunk ^ (row & 7)) * 16);
}

__device__ std::uint32_t packed(float first, float second) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}

// 128 rows of a side from `first` on: how they come in and become pieces.
class Panel {
 public:
  __device__ Panel(const DeviceRows& rows, const float* means, int first, char* raw, char* planes,
                   int pieces)
      : rows_(rows),
        first_(first),
        raw_(raw),
        planes_(planes),
        pieces_(pieces),
        bytes_(rows.element == spectrum::Element::bf16 ? 2 : 4) {
    aligned_ = (reinterpret_cast<std::uintptr_t>(rows.values) | (rows.stride * bytes_)) % 16 == 0;
    for (int turn = 0; turn < kTurns; ++turn) {
      const int row = first_ + row_of(turn);
      mean_[turn] = means != nullptr && row < rows.rows ? means[row] : 0.0F;
    }
  }

  // Starts to copy this thread's chunks of the panel at `column`.
  __device__ void fetch(int column) {
    for (int turn = 0; turn < kTurns; ++turn) {
      const int row = first_ + row_of(turn);
      const int at = column + chunk() * kChunk;
      const int there = row < rows_.rows ? max(0, min(kChunk, rows_.width - at)) : 0;
      const auto* from = static_cast<const char*>(rows_.values) +
                         (there > 0 ? (row * rows_.stride + at) * bytes_ : 0);
      char* to = raw_of(turn);
      if (aligned_) {
        for (int part = 0; part < bytes_ / 2; ++part)
          copy_16(to + part * 16, from + (there > 0 ? part * 16 : 0),
                  max(0, min(16, there * bytes_ - part * 16)));
      } else {
        for (int i = 0; i < kChunk; ++i) {
          if (bytes_ == 2) {
            reinterpret_cast<std::uint16_t*>(to)[i] =
                i < there ? reinterpret_cast<const std::uint16_t*>(from)[i] : std::uint16_t{0};
          } else {
            reinterpret_cast<float*>(to)[i] =
                i < there ? reinterpret_cast<const float*>(from)[i] : 0.0F;
          }
        }
      }
    }
  }

  // Folds this thread's chunks, which have come, into the planes of pieces.
  __device__ void fold(int column) {
    float gain[kChunk];
    const int at = column + chunk() * kChunk;
    for (int i = 0; i < kChunk; ++i)
      gain[i] = rows_.gain != nullptr && at + i < rows_.width
                    ? static_cast<float>(rows_.gain[at + i])
                    : 1.0F;
    for (int turn = 0; turn < kTurns; ++turn) {
      const char* from = raw_of(turn);
      float x[kChunk];
      for (int i = 0; i < kChunk; ++i) {
        x[i] = bytes_ == 2 ? from_bf16(reinterpret_cast<const std::uint16_t*>(from)[i])
                           : reinterpret_cast<const float*>(from)[i];
        x[i] = x[i] * gain[i];
        if (rows_.project_mean && at + i < rows_.width) x[i] = x[i] - mean_[turn];
      }
      const int offset = plane_offset(row_of(turn), chunk());
      for (int piece = 0; piece < pieces_; ++piece) {
        uint4 words;
        std::uint32_t* word = &words.x;
        for (int i = 0; i < kChunk; i += 2) {
          word[i / 2] = packed(x[i], x[i + 1]);
          // What is left is exact: the nearest BF16 number is within half of its own last place.
          x[i] = x[i] - __uint_as_float(word[i / 2] << 16);
          x[i + 1] = x[i + 1] - __uint_as_float(word[i / 2] & 0xFFFF0000U);
        }
        *reinterpret_cast<uint4*>(planes_ + piece * kPlaneBytes + offset) = words;
      }
    }
  }

 private:
  __device__ static int chunk() { return static_cast<int>(threadIdx.x) % kChunks; }
  __device__ static int row_of(int turn) {
    return static_cast<int>(threadIdx.x) / kChunks + turn * (kThreads / kChunks);
  }
  __device__ char* raw_of(int turn) const {
    return raw_ + (row_of(turn) * kChunks + chunk()) * (kChunk * bytes_);
  }

  const DeviceRows& rows_;
  int first_;
  char* raw_;
  char* planes_;
  int pieces_;
  int bytes_;
  bool aligned_;
  float mean_[kTurns];
};

// The tile's part of a warp: 64 x 32 of sums, in FP64 after each panel.
class WarpTile {
 public:
  static constexpr int kRows = 64;
  static constexpr int kColumns = 32;

  __device__ WarpTile()
      : row_((threadIdx.x / kWarp) % 2 * kRows), column_((threadIdx.x / kWarp) / 2 * kColumns) {}

  __device__ void multiply(const char* x, const char* y, int pieces) {
    float sums[4][4][4] = {};
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    for (int pair = pieces == 1 ? kPairs - 1 : 0; pair < kPairs; ++pair) {
      const std::uint32_t left = shared_address(x + kOrder[pair].x * kPlaneBytes);
      const std::uint32_t right = shared_address(y + kOrder[pair].y * kPlaneBytes);
#pragma unroll
      for (int k = 0; k < kPanelColumns / 16; ++k) {
        std::uint32_t a[4][4];
        std::uint32_t b[2][4];
#pragma unroll
        for (int i = 0; i < 4; ++i)
          load_matrices(a[i], left + plane_offset(row_ + i * 16 + lane % 16, k * 2 + lane / 16));
#pragma unroll
        for (int j = 0; j < 2; ++j)
          load_matrices(b[j], right + plane_offset(column_ + j * 16 + lane % 8 + lane / 16 * 8,
                                                   k * 2 + lane / 8 % 2));
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j)
            multiply_add(sums[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) totals_[i][j][e] += static_cast<double>(sums[i][j][e]);
      }
    }
  }

  // body(row, column, value) of each entry of this thread.
  template <class Body>
  __device__ void each(Body body) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e)
          body(row_ + i * 16 + lane / 4 + e / 2 * 8, column_ + j * 8 + lane % 4 * 2 + e % 2,
               totals_[i][j][e]);
      }
    }
  }

 private:
  int row_;
  int column_;
  double totals_[4][4][4] = {};
};

// All panels of a tile. `y` may be `x`: the tile lies on the diagonal.
__device__ void multiply_panels(Panel& x, Panel& y, const char* planes_x, const char* planes_y,
                                int width, int pieces, WarpTile& tile) {
  const bool both = planes_x != planes_y;
  x.fetch(0);
  if (both) y.fetch(0);
  for (int column = 0; column < width; column += kPanelColumns) {
    copies_end();
    // Each thread reads what it copied itself; the planes are free since the barrier below.
    x.fold(column);
    if (both) y.fold(column);
    __syncthreads();
    if (column + kPanelColumns < width) {
      x.fetch(column + kPanelColumns);
      if (both) y.fetch(column + kPanelColumns);
    }
    tile.multiply(planes_x, planes_y, pieces);
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kThreads, 1) fast_grams(const Side* sides) {
  extern __shared__ char shared[];
  // Tiles on and above the diagonal: (0, 0), (0, 1), (1, 1).
  const int first_x = blockIdx.y == 2 ? kTile : 0;
  const int first_y = blockIdx.y == 0 ? 0 : kTile;
  const Side side = sides[blockIdx.x];
  if (side.rows.element == spectrum::Element::f64 || first_y >= side.rows.rows) return;
  const int pieces = folds(side.rows) || side.rows.element == spectrum::Element::f32 ? kPieces : 1;
  const bool diagonal = first_x == first_y;
  char* planes_x = shared + kRawBytes;
  char* planes_y = diagonal ? planes_x : shared + 2 * kRawBytes + kPieces * kPlaneBytes;
  char* raw_y = shared + kRawBytes + kPieces * kPlaneBytes;
  Panel x(side.rows, side.means, first_x, shared, planes_x, pieces);
  Panel y(side.rows, side.means, first_y, raw_y, planes_y, pieces);
  WarpTile tile;
  multiply_panels(x, y, planes_x, planes_y, side.rows.width, pieces, tile);
  const int extent = extent_of(side.rows.rows);
  tile.each([&](int row, int column, double value) {
    const int i = first_x + row;
    const int j = first_y + column;
    // Below the diagonal stands what is above, to the last bit.
    if (i > j || j >= extent) return;
    side.gram[i * extent + j] = value;
    side.gram[j * extent + i] = value;
  });
}

__global__ void __launch_bounds__(kThreads, 1) fast_cross(const CrossTask* tasks) {
  extern __shared__ char shared[];
  const CrossTask task = tasks[blockIdx.x];
  const int first_x = static_cast<int>(blockIdx.y) / 2 * kTile;
  const int first_y = static_cast<int>(blockIdx.y) % 2 * kTile;
  if (first_x >= task.query.rows || first_y >= task.key.rows) return;
  char* planes_x = shared + kRawBytes;
  char* raw_y = planes_x + kPlaneBytes;
  char* planes_y = raw_y + kRawBytes;
  Panel x(task.query, task.query_means, first_x, shared, planes_x, 1);
  Panel y(task.key, task.key_means, first_y, raw_y, planes_y, 1);
  WarpTile tile;
  multiply_panels(x, y, planes_x, planes_y, task.query.width, 1, tile);
  const int rows = extent_of(task.query.rows);
  const int columns = extent_of(task.key.rows);
  tile.each([&](int row, int column, double value) {
    const int i = first_x + row;
    const int j = first_y + column;
    if (i < rows && j < columns) task.out[i * columns + j] = value;
  });
}

template <class Kernel>
cudaError_t allow_shared(Kernel kernel, int bytes) {
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
}

}  // namespace

cudaError_t launch_fast_grams(const Side* sides, const Shape& shape, cudaStream_t stream) {
  const bool tiled = shape.rows > kTile;
  const int bytes = (tiled ? 2 : 1) * (kRawBytes + kPieces * kPlaneBytes);
  if (const cudaError_t error = allow_shared(fast_grams, bytes); error != cudaSuccess) return error;
  fast_grams<<<dim3(shape.sides, tiled ? 3 : 1), kThreads, bytes, stream>>>(sides);
  return cudaGetLastError();
}

cudaError_t launch_cross_grams(const CrossTask* tasks, int count, int rows, cudaStream_t stream) {
  constexpr int kBytes = 2 * (kRawBytes + kPlaneBytes);
  if (const cudaError_t error = allow_shared(fast_cross, kBytes); error != cudaSuccess)
    return error;
  fast_cross<<<dim3(count, rows > kTile ? 4 : 1), kThreads, kBytes, stream>>>(tasks);
  return cudaGetLastError();
}

}  // namespace ullage::cuda
