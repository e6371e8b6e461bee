// Casts of anything, a block of threads a block of elements: any strides, any source, the ends of arrays, and what goes by
// definition (scalar.h). Elements are looked at one by one; errors meet in shared memory, where they are added up in
// the CPU's order.
#include <bit>
#include <type_traits>

#include "cuda/cast_kernels.h"
#include "cuda/dependent.cuh"
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
  let_the_next_start();
  const int thread = static_cast<int>(threadIdx.x);
  const bool stochastic = job.options.rounding == formats::Rounding::stochastic;
  if (job.kind == Source::bytes)
    table[thread] = value_of(job.from, static_cast<std::uint32_t>(thread));
  if (job.scratch.errors != nullptr && blockIdx.x == 0 && thread == 0) *job.scratch.parts_done = 0;
  if (thread == 0) met = {};
  Tally tally;
  double amax = 0;
  for (std::uint64_t block = job.first_block + blockIdx.x; block < job.end_block;
       block += gridDim.x) {
    __syncthreads();
    const std::uint64_t first = block * kBlock;
    const int count = static_cast<int>(job.elements - first < kBlock ? job.elements - first
                                                                     : std::uint64_t{kBlock});
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
    if (job.scratch.errors == nullptr) continue;
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
    if (thread == 0) job.scratch.errors[block] = error;
  }
  if (job.scratch.errors == nullptr) return;
  meet(tally, amax, met);
  __syncthreads();
  if (thread == 0)
    job.scratch.parts[job.first_part + blockIdx.x] = {std::bit_cast<double>(met.amax), met.nan,
                                                      met.saturated, met.flushed};
}

}  // namespace

cudaError_t launch_cast_any(Body body, bool by_definition, const CastJob& job, const Layout& layout,
                            cudaStream_t stream, std::uint64_t& parts) {
  const std::uint64_t blocks = job.end_block - job.first_block;
  const auto grid = static_cast<unsigned>(blocks < 1U << 20 ? blocks : 1U << 20);
  parts = grid;
  if (by_definition)
    cast_any<true><<<grid, kThreads, 0, stream>>>(body, job, layout);
  else
    cast_any<false><<<grid, kThreads, 0, stream>>>(body, job, layout);
  return cudaGetLastError();
}

}  // namespace ullage::cuda
