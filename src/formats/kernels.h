// The loops behind array casts: contiguous FP32 in, codes out, counts in the same pass; one set of functions
// for each CPU path, all with the same bits. What to call them with is cast.cc's business.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ullage/base/cpu.h"
#include "ullage/formats/cast_parameters.h"

namespace ullage::formats {

struct BlockCounts {
  std::uint64_t nan = 0;
  std::uint64_t saturated = 0;
  std::uint64_t flushed = 0;
  float amax = 0;
  double error = 0;
};

// count: a multiple of kRow, at most kBlock. random: one word an element, or null. Adds to counts.
using CastKernel = void (*)(const float* values, std::size_t count, const std::uint32_t* random,
                            const CastParameters& parameters, void* codes, BlockCounts& counts);
// Fills words[0, count) with random_word(seed, first + i); first and count are multiples of kRandomGroup.
using RandomKernel = void (*)(std::uint64_t seed, std::uint64_t first, std::size_t count,
                              std::uint32_t* words);

// The largest pattern of |values|: past infinity's where one is NaN.
using LargestKernel = std::uint32_t (*)(const float* values, std::size_t count);

// patterns[row]: the same of each kRow values; count is a multiple of kRow.
using LargestOfRowsKernel = void (*)(const float* values, std::size_t count,
                                     std::uint32_t* patterns);
// Small formats of one byte; each row under multipliers[row], its errors multiplied by reciprocals[row].
using RowsKernel = void (*)(const float* values, std::size_t count, const std::uint32_t* random,
                            const CastParameters& parameters, const float* multipliers,
                            const float* reciprocals, std::uint8_t* codes, BlockCounts& counts);

// How an MX block's scale follows from the pattern of its largest magnitude; mx_scale.h.
struct MxParameters {
  bool by_reciprocal = false;
  float reciprocal = 0;
  std::uint32_t addend = 0;
  int emax = 0;
};
inline constexpr std::size_t kMxBlock = 32;
// Whole MX blocks: count is a multiple of kMxBlock. A block with NaN (or, without reciprocal, infinity) has
// scale NaN; its elements are NaN and all but its NaN inputs count as saturated.
using MxKernel = void (*)(const float* values, std::size_t count, const std::uint32_t* random,
                          const CastParameters& parameters, const MxParameters& mx,
                          std::uint8_t* scales, std::uint8_t* codes, BlockCounts& counts);

struct CastKernels {
  // [bytes of a code: 1, 2, 4 as 0, 1, 2]
  CastKernel prefix_nearest[3];  // nearest_even
  CastKernel prefix[3];
  CastKernel prefix_stochastic[3];
  CastKernel nearest[3];  // small formats, nearest_even
  CastKernel small[3];
  CastKernel small_stochastic[3];
  CastKernel scaled_nearest[3];
  CastKernel scaled_small[3];
  CastKernel scaled_small_stochastic[3];
  LargestKernel largest;
  LargestOfRowsKernel largest_of_rows;
  RowsKernel rows_nearest;
  RowsKernel rows_small;
  RowsKernel rows_stochastic;
};
struct MxKernels {
  MxKernel nearest;
  MxKernel small;
  MxKernel stochastic;
};

const CastKernels& cast_kernels(CpuPath path);
const MxKernels& mx_kernels(CpuPath path);
RandomKernel random_kernel(CpuPath path);

}  // namespace ullage::formats
