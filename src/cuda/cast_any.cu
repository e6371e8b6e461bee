// Casts of anything, a block of threads a block of elements: any strides, any source, the ends of arrays, and what goes by
// definition (scalar.h). Elements are looked at one by one; errors meet in shared memory, where they are added up in
// the CPU's order. And the kernel that adds up all blocks' counts.
#include <bit>
#include <iterator>
#include <type_traits>

#include "cuda/cast_kernels.h"
#include "ullage/formats/random.h"
#include "ullage/formats/scalar.h"

namespace ullage::cuda {
namespace {

using formats::kBlock;
using formats::kGroup;
using formats::kRow;

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr std::uint32_t kAll = 0xFFFFFFFF;

__device__ std::int64_t offset_of(const Layout& layout, std::uint64_t index) {
  if (layout.contiguous) return static_cast<std::int64_t>(index);
  std::int64_t offset = 0;
  for (int axis = layout.rank - 1; axis > 0; --axis) {
    const auto size = static_cast<std::uint64_t>(layout.shape[axis]);
    const std::uint64_t rest = index / size;
    offset += static_cast<std::int64_t>(index - rest * size) * layout.strides[axis];
    index = rest;
  }
  return offset + static_cast<std::int64_t>(index) * layout.strides[0];
}

__device__ std::uint32_t code_at(const void* codes, std::int64_t at, std::size_t bytes) {
  switch (bytes) {
    case 1:
      return static_cast<const std::uint8_t*>(codes)[at];
    case 2:
      return static_cast<const std::uint16_t*>(codes)[at];
    default:
      return static_cast<const std::uint32_t*>(codes)[at];
  }
}

// FP32's own NaN keep their sign; those of other formats have none.
__device__ float value_at(const CastJob& job, const float* table, std::int64_t at) {
  const std::uint32_t code = code_at(job.source, at, job.from.bytes());
  switch (job.kind) {
    case Source::fp32:
      return float_of(code);
    case Source::bf16:
      return (code & 0x7FFF) > 0x7F80 ? float_of(kQuietNan) : float_of(code << 16);
    case Source::bytes:
      return table[code];
    default:
      return value_of(job.from, code);
  }
}

// Exact; NaN keeps its sign, which the GPU's conversion may not.
__device__ double widened(float x) {
  if (x == x) return static_cast<double>(x);
  return std::bit_cast<double>(std::uint64_t{bits_of(x) & kSign} << 32 | 0x7FF8000000000000);
}

__device__ void store_code(const CastJob& job, std::uint64_t at, std::uint32_t code) {
  if (job.values) {
    static_cast<float*>(job.codes)[at] = value_of(job.to, code);
    return;
  }
  switch (job.to.bytes()) {
    case 1:
      static_cast<std::uint8_t*>(job.codes)[at] = static_cast<std::uint8_t>(code);
      break;
    case 2:
      static_cast<std::uint16_t*>(job.codes)[at] = static_cast<std::uint16_t>(code);
      break;
    default:
      static_cast<std::uint32_t*>(job.codes)[at] = code;
      break;
  }
}

__device__ Coded cast_one(Body body, float x, bool stochastic, std::uint32_t random,
                          const CastParameters& p, Tally& tally) {
  if (body == Body::nearest) return cast_exactly<Body::nearest, false>(x, 0, p, tally);
  if (body == Body::prefix)
    return stochastic ? cast_exactly<Body::prefix, true>(x, random, p, tally)
                      : cast_exactly<Body::prefix, false>(x, 0, p, tally);
  return stochastic ? cast_exactly<Body::small, true>(x, random, p, tally)
                    : cast_exactly<Body::small, false>(x, 0, p, tally);
}

// What a block's threads met, in shared memory. Magnitudes as patterns, which ascend with them.
struct Met {
  unsigned nan, saturated, flushed;
  unsigned long long amax;
};

__device__ void meet(const Tally& tally, double amax, Met& met) {
  if (tally.nan != 0) atomicAdd(&met.nan, tally.nan);
  if (tally.saturated != 0) atomicAdd(&met.saturated, tally.saturated);
  if (tally.flushed != 0) atomicAdd(&met.flushed, tally.flushed);
  atomicMax(&met.amax, std::bit_cast<unsigned long long>(amax));
}

// The errors of one call of the CPU's kernel: groups of which the last may be one row; their places in order.
__device__ double sum_of_rows(const float* errors, int count, int lane) {
  float sum = 0;
  const int place = lane % static_cast<int>(kRow);
  int at = 0;
  for (; at + static_cast<int>(kGroup) <= count; at += static_cast<int>(kGroup))
    sum += errors[at + place] + errors[at + static_cast<int>(kRow) + place];
  if (at < count) sum += errors[at + place];
  double error = 0;
#pragma unroll
  for (int other = 0; other < static_cast<int>(kRow); ++other)
    error += static_cast<double>(__shfl_sync(kAll, sum, other));
  return error;
}

template <bool kByDefinition>
__global__ void __launch_bounds__(kThreads) cast_any(Body body, const __grid_constant__ CastJob job,
                                                     const __grid_constant__ Layout layout) {
  using Error = std::conditional_t<kByDefinition, double, float>;
  __shared__ Error errors[kBlock];
  __shared__ float table[256];
  __shared__ Met met;
  const int thread = static_cast<int>(threadIdx.x);
  const bool stochastic = job.options.rounding == formats::Rounding::stochastic;
  if (job.kind == Source::bytes)
    table[thread] = value_of(job.from, static_cast<std::uint32_t>(thread));
  if (job.scratch.blocks != nullptr && blockIdx.x == 0 && thread == 0) *job.scratch.chunks_done = 0;
  for (std::uint64_t block = job.first_block + blockIdx.x; block < job.end_block;
       block += gridDim.x) {
    if (thread == 0) met = {};
    __syncthreads();
    const std::uint64_t first = block * kBlock;
    const int count = static_cast<int>(job.elements - first < kBlock ? job.elements - first
                                                                     : std::uint64_t{kBlock});
    Tally tally;
    double amax = 0;
    for (int i = thread; i < static_cast<int>(kBlock); i += kThreads) {
      if (i >= count) {
        errors[i] = 0;
        continue;
      }
      const std::uint64_t index = first + static_cast<std::uint64_t>(i);
      const std::int64_t from = offset_of(layout, index);
      if constexpr (kByDefinition) {
        const double x = job.kind == Source::fp64 ? static_cast<const double*>(job.source)[from]
                                                  : widened(value_at(job, table, from));
        const std::uint32_t code = formats::encode(job.to, x, job.options, index);
        store_code(job, index, code);
        errors[i] = 0;
        if (x != x) {
          ++tally.nan;
          continue;
        }
        const double magnitude = x < 0 ? -x : x;
        const double y = formats::decode(job.to, code);
        amax = magnitude > amax ? magnitude : amax;
        tally.flushed += x != 0 && y == 0 ? 1 : 0;
        if (formats::overflows(job.to, x, job.options, index))
          ++tally.saturated;
        else
          errors[i] = y - x;
      } else {
        const std::uint32_t random =
            stochastic ? formats::random_word(job.options.seed, job.options.first_index + index)
                       : 0;
        const Coded found =
            cast_one(body, value_at(job, table, from), stochastic, random, job.parameters, tally);
        store_code(job, index, found.code);
        errors[i] = found.value;
        amax = static_cast<double>(tally.largest);
      }
    }
    if (job.scratch.blocks == nullptr) continue;
    meet(tally, amax, met);
    __syncthreads();
    if (thread >= kWarp) continue;
    double error = 0;
    if constexpr (kByDefinition) {
      if (thread == 0)
#pragma unroll 16
        for (int i = 0; i < static_cast<int>(kBlock); ++i) error += errors[i];
    } else {
      const int whole = count / static_cast<int>(kRow) * static_cast<int>(kRow);
      error = sum_of_rows(errors, whole, thread);
      if (whole < count) error += sum_of_rows(errors + whole, static_cast<int>(kRow), thread);
    }
    if (thread == 0)
      job.scratch.blocks[block] = {error, std::bit_cast<double>(met.amax), met.nan, met.saturated,
                                   met.flushed};
  }
}

__device__ unsigned long long sum_of_warp(unsigned long long value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(kAll, value, distance);
  return value;
}
__device__ double largest_of_warp(double value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const double other = __shfl_xor_sync(kAll, value, distance);
    value = other > value ? other : value;
  }
  return value;
}

// a + b; `exact` stays true where that is no rounded sum (D. Knuth's TwoSum).
__device__ double add_exactly(double a, double b, bool& exact) {
  const double sum = a + b;
  const double b_part = sum - a;
  const double error = (a - (sum - b_part)) + (b - b_part);
  exact = exact && error == 0;
  return sum;
}

constexpr int kEach = 8;  // values of a thread in sum_in_order

// start + values[0] + values[1] + ..., added in that order, by all threads at once: every prefix of the sum is made, and
// where no addition on the way was rounded the order made no difference. Else one thread adds. `values`: kEach a thread,
// zero past the last. What is returned is thread 0's.
__device__ double sum_in_order(double start, const double* values) {
  __shared__ double of_warps[kThreads / kWarp];
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarp;
  bool exact = true;
  double mine[kEach];
  double sum = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i)
    mine[i] = sum = add_exactly(sum, values[kEach * thread + i], exact);
  double before = sum;  // becomes the sum of the warp's threads up to this one, then without it
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const double other = __shfl_up_sync(kAll, before, distance);
    if (lane >= distance) before = add_exactly(other, before, exact);
  }
  if (lane == kWarp - 1) of_warps[thread / kWarp] = before;
  before = __shfl_up_sync(kAll, before, 1);
  if (lane == 0) before = 0;
  __syncthreads();
  double total = start;
  for (int warp = 0; warp < kThreads / kWarp; ++warp) {
    if (warp == thread / kWarp) before = add_exactly(total, before, exact);
    total = add_exactly(total, of_warps[warp], exact);
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) add_exactly(before, mine[i], exact);
  if (__syncthreads_and(exact ? 1 : 0) != 0) return total;
  if (thread == 0)
#pragma unroll 16
    for (int i = 0; i < kEach * kThreads; ++i) start += values[i];
  return start;
}

// A warp a chunk; the last block of threads that is done adds up the chunks.
__global__ void __launch_bounds__(kThreads)
    add_counts(Scratch scratch, std::uint64_t elements, formats::CastCounts* counts) {
  static_assert(kBlocksOfChunk == kWarp, "a lane a block");
  __shared__ double errors[kEach * kThreads];
  __shared__ double error_before;
  __shared__ unsigned long long nan, saturated, flushed, amax;
  __shared__ bool is_last;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarp;
  const std::uint64_t blocks = (elements + kBlock - 1) / kBlock;
  const std::uint64_t chunks = (blocks + kWarp - 1) / kWarp;
  const std::uint64_t chunk =
      std::uint64_t{blockIdx.x} * (kThreads / kWarp) + static_cast<std::uint64_t>(thread / kWarp);
  if (chunk < chunks) {
    const std::uint64_t block = chunk * kWarp + static_cast<std::uint64_t>(lane);
    const BlockFound found = block < blocks ? scratch.blocks[block] : BlockFound{};
    double error = 0;
#pragma unroll
    for (int other = 0; other < kWarp; ++other) error += __shfl_sync(kAll, found.error, other);
    const ChunkFound sum = {error, largest_of_warp(found.amax), sum_of_warp(found.nan),
                            sum_of_warp(found.saturated), sum_of_warp(found.flushed)};
    if (lane == 0) scratch.chunks[chunk] = sum;
  }
  __threadfence();
  __syncthreads();
  if (thread == 0) {
    is_last = atomicAdd(scratch.chunks_done, 1U) == gridDim.x - 1;
    nan = saturated = flushed = amax = 0;
    error_before = 0;
  }
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  ChunkFound mine = {};
  for (std::uint64_t begin = 0; begin < chunks; begin += std::size(errors)) {
    for (std::uint64_t i = static_cast<std::uint64_t>(thread); i < std::size(errors);
         i += kThreads) {
      errors[i] = 0;
      if (begin + i >= chunks) continue;
      const ChunkFound found = scratch.chunks[begin + i];
      errors[i] = found.error;
      mine.nan += found.nan;
      mine.saturated += found.saturated;
      mine.flushed += found.flushed;
      mine.amax = found.amax > mine.amax ? found.amax : mine.amax;
    }
    __syncthreads();
    const double error = sum_in_order(error_before, errors);
    __syncthreads();
    if (thread == 0) error_before = error;
    __syncthreads();
  }
  mine.nan = sum_of_warp(mine.nan);
  mine.saturated = sum_of_warp(mine.saturated);
  mine.flushed = sum_of_warp(mine.flushed);
  mine.amax = largest_of_warp(mine.amax);
  if (lane == 0) {
    atomicAdd(&nan, mine.nan);
    atomicAdd(&saturated, mine.saturated);
    atomicAdd(&flushed, mine.flushed);
    atomicMax(&amax, std::bit_cast<unsigned long long>(mine.amax));
  }
  __syncthreads();
  if (thread != 0) return;
  counts->elements = elements;
  counts->nan = nan;
  counts->saturated = saturated;
  counts->flushed = flushed;
  counts->amax = std::bit_cast<double>(amax);
  counts->error_sum = error_before;
  counts->error_count = elements - nan - saturated;
}

}  // namespace

cudaError_t launch_cast_any(Body body, bool by_definition, const CastJob& job, const Layout& layout,
                            cudaStream_t stream) {
  const std::uint64_t blocks = job.end_block - job.first_block;
  const auto grid = static_cast<unsigned>(blocks < 1U << 20 ? blocks : 1U << 20);
  if (by_definition)
    cast_any<true><<<grid, kThreads, 0, stream>>>(body, job, layout);
  else
    cast_any<false><<<grid, kThreads, 0, stream>>>(body, job, layout);
  return cudaGetLastError();
}

cudaError_t launch_counts(const Scratch& scratch, std::uint64_t elements,
                          formats::CastCounts* counts, cudaStream_t stream) {
  constexpr std::uint64_t kElements = formats::kChunk * (kThreads / kWarp);
  const auto grid = static_cast<unsigned>((elements + kElements - 1) / kElements);
  add_counts<<<grid, kThreads, 0, stream>>>(scratch, elements, counts);
  return cudaGetLastError();
}

}  // namespace ullage::cuda
