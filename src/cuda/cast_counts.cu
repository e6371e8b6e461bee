// What the casts' kernels leave, added up in the CPU's order: blocks of a chunk, then chunks.
//
// For small arrays all of it is one block of threads, and it is the time that a number takes to come that counts: what can
// be on its way at once is.
#include <bit>

#include "cuda/cast_kernels.h"
#include "cuda/dependent.cuh"

namespace ullage::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kThreads = static_cast<int>(kChunksAtOnce) * kWarp;
constexpr std::uint32_t kAll = 0xFFFFFFFF;

__device__ std::uint64_t sum_of_warp(std::uint64_t value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(kAll, value, distance);
  return value;
}
// By halves, whose sums fit: one instruction each.
__device__ std::uint64_t sum_of_warp(std::uint32_t value) {
  return (std::uint64_t{__reduce_add_sync(kAll, value >> 16)} << 16) +
         __reduce_add_sync(kAll, value & 0xFFFF);
}
// Of magnitudes, whose patterns ascend with them.
__device__ double largest_of_warp(double value) {
  const auto pattern = std::bit_cast<std::uint64_t>(value);
  const auto high = static_cast<std::uint32_t>(pattern >> 32);
  const std::uint32_t highest = __reduce_max_sync(kAll, high);
  const std::uint32_t low = high == highest ? static_cast<std::uint32_t>(pattern) : 0;
  return std::bit_cast<double>(std::uint64_t{highest} << 32 | __reduce_max_sync(kAll, low));
}

// a + b; `exact` stays true where that is no rounded sum (D. Knuth's TwoSum).
__device__ double add_exactly(double a, double b, bool& exact) {
  const double sum = a + b;
  const double b_part = sum - a;
  const double error = (a - (sum - b_part)) + (b - b_part);
  exact = exact && error == 0;
  return sum;
}

constexpr int kEach = 4;  // values of a thread in sum_in_order

// Each lane's value and all before it, added up.
__device__ double sum_up_to(double value, bool& exact) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const double other = __shfl_up_sync(kAll, value, distance);
    if (lane >= distance) value = add_exactly(other, value, exact);
  }
  return value;
}
// The lane before's, for the first lane zero.
__device__ double of_lane_before(double value) {
  const double before = __shfl_up_sync(kAll, value, 1);
  return threadIdx.x % kWarp == 0 ? 0 : before;
}

// start + values[0] + values[1] + ..., added in that order, by all threads at once: every prefix of the sum is made, and
// where no addition on the way was rounded the order made no difference. Else one thread adds. `values`: kEach a thread,
// zero past the last. What is returned is thread 0's.
__device__ double sum_in_order(double start, const double* values) {
  __shared__ double of_warps[kThreads / kWarp];
  __shared__ double total;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarp;
  bool exact = true;
  double mine[kEach];
  double sum = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i)
    mine[i] = sum = add_exactly(sum, values[kEach * thread + i], exact);
  const double up_to = sum_up_to(sum, exact);
  if (lane == kWarp - 1) of_warps[thread / kWarp] = up_to;
  __syncthreads();
  if (thread < kWarp) {
    const double warps = sum_up_to(of_warps[lane], exact);
    if (lane == kWarp - 1) total = add_exactly(start, warps, exact);
    of_warps[lane] = add_exactly(start, of_lane_before(warps), exact);
  }
  __syncthreads();
  const double before = add_exactly(of_warps[thread / kWarp], of_lane_before(up_to), exact);
#pragma unroll
  for (int i = 0; i < kEach; ++i) add_exactly(before, mine[i], exact);
  if (__syncthreads_and(exact ? 1 : 0) != 0) return total;
  if (thread == 0)
#pragma unroll 16
    for (int i = 0; i < kEach * kThreads; ++i) start += values[i];
  return start;
}

// Of warps, together, for the first warp.
__device__ Totals sum_of_block(const Totals& of_warp) {
  __shared__ Totals of_warps[kThreads / kWarp];
  const int thread = static_cast<int>(threadIdx.x);
  if (thread % kWarp == 0) of_warps[thread / kWarp] = of_warp;
  __syncthreads();
  if (thread >= kWarp) return {};
  const Totals& one = of_warps[thread];
  return {largest_of_warp(one.amax), sum_of_warp(one.nan), sum_of_warp(one.saturated),
          sum_of_warp(one.flushed)};
}

__device__ void write(const Totals& all, double error, std::uint64_t elements,
                      formats::CastCounts* counts) {
  counts->elements = elements;
  counts->nan = all.nan;
  counts->saturated = all.saturated;
  counts->flushed = all.flushed;
  counts->amax = all.amax;
  counts->error_sum = error;
  counts->error_count = elements - all.nan - all.saturated;
}

// A lane of the first warp a chunk, a thread a part; of several blocks of threads the last one that is done adds up what
// all have.
__global__ void __launch_bounds__(kThreads)
    add_counts(Scratch scratch, std::uint64_t elements, std::uint64_t parts,
               formats::CastCounts* counts) {
  static_assert(kBlocksOfChunk == kWarp && kChunksAtOnce == kWarp);
  __shared__ double of_blocks[kWarp][kWarp + 1];  // odd rows: no two lanes meet in a bank
  __shared__ double errors[kEach * kThreads];
  __shared__ double error_before;
  __shared__ bool is_last;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarp;
  const std::uint64_t blocks = (elements + formats::kBlock - 1) / formats::kBlock;
  const std::uint64_t chunks = (blocks + kWarp - 1) / kWarp;
  const std::uint64_t at =
      std::uint64_t{blockIdx.x} * kThreads + static_cast<std::uint64_t>(thread);
  wait_for_the_last();
  of_blocks[thread / kWarp][lane] = at < blocks ? scratch.errors[at] : 0;
  const Part part = at < parts ? scratch.parts[at] : Part{};
  const Totals met = sum_of_block({largest_of_warp(part.amax), sum_of_warp(part.nan),
                                   sum_of_warp(part.saturated), sum_of_warp(part.flushed)});
  if (thread < kWarp) {
    double error = 0;
#pragma unroll
    for (int block = 0; block < kWarp; ++block) error += of_blocks[lane][block];
    if (gridDim.x == 1) {
      double sum = 0;
#pragma unroll
      for (int chunk = 0; chunk < kWarp; ++chunk) sum += __shfl_sync(kAll, error, chunk);
      if (thread == 0) write(met, sum, elements, counts);
      return;
    }
    const std::uint64_t chunk = std::uint64_t{blockIdx.x} * kWarp + static_cast<unsigned>(lane);
    if (chunk < chunks) scratch.chunks[chunk] = error;
    if (thread == 0) scratch.totals[blockIdx.x] = met;
    __threadfence();
    __syncwarp();
    if (thread == 0) {
      is_last = atomicAdd(scratch.parts_done, 1U) == gridDim.x - 1;
      error_before = 0;
    }
  }
  if (gridDim.x == 1) return;
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  Totals mine = {};
  for (unsigned i = threadIdx.x; i < gridDim.x; i += kThreads) {
    const Totals more = scratch.totals[i];
    mine = {more.amax > mine.amax ? more.amax : mine.amax, mine.nan + more.nan,
            mine.saturated + more.saturated, mine.flushed + more.flushed};
  }
  for (std::uint64_t begin = 0; begin < chunks; begin += kEach * kThreads) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int place = i * kThreads + thread;
      const std::uint64_t chunk = begin + static_cast<std::uint64_t>(place);
      errors[place] = chunk < chunks ? scratch.chunks[chunk] : 0;
    }
    __syncthreads();
    const double sum = sum_in_order(error_before, errors);
    __syncthreads();
    if (thread == 0) error_before = sum;
    __syncthreads();
  }
  const Totals all = sum_of_block({largest_of_warp(mine.amax), sum_of_warp(mine.nan),
                                   sum_of_warp(mine.saturated), sum_of_warp(mine.flushed)});
  if (thread == 0) write(all, error_before, elements, counts);
}

}  // namespace

cudaError_t launch_counts(const Scratch& scratch, std::uint64_t elements, std::uint64_t parts,
                          formats::CastCounts* counts, cudaStream_t stream) {
  constexpr std::uint64_t kElements = kBlocksAtOnce * formats::kBlock;
  const auto grid = static_cast<unsigned>((elements + kElements - 1) / kElements);
  return launch_dependent(add_counts, grid, kThreads, stream, scratch, elements, parts, counts);
}

}  // namespace ullage::cuda
