// The loops behind array casts: contiguous FP32 in, codes out, counts in the same pass; one set of functions
// for each CPU path, all with the same bits. What to call them with is cast.cc's business.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ullage/base/cpu.h"
#include "ullage/formats/format.h"
#include "ullage/formats/rounding.h"

namespace ullage::formats {

// Elements of one kernel call at most; kernels work on rows of 16. Four such buffers fit the first-level cache.
inline constexpr std::size_t kBlock = 2048;
inline constexpr std::size_t kRow = 16;
// Elements that are looked at together: whether anything in them overflows decides how they are cast.
inline constexpr std::size_t kGroup = 32;

// A format and its rounding as the kernels want them. Patterns are FP32's.
struct CastParameters {
  int mantissa_shift = 0;  // 23 - mantissa bits
  int mantissa_bits = 0;
  int sign_shift = 0;  // from FP32's sign bit to the format's
  std::uint32_t sign_mask = 0;
  std::uint32_t max_code = 0;
  bool drops_negative_zero = false;
  std::uint32_t safe = 0;  // no magnitude up to this pattern overflows
  // small formats
  std::uint32_t least = 0;         // pattern of the smallest normal number
  std::uint32_t cap = 0;           // pattern of the power of two past the largest finite value
  std::uint32_t magic = 0;         // completes the magic number of round_nearest
  std::uint32_t inverse_unit = 0;  // minus a binade's pattern: pattern of one over its last place
  std::uint32_t base = 0;  // taken from a binade's pattern and 2^23's to make its first code
  // A fraction whose pattern is larger than this rounds away from zero; by sign.
  std::uint32_t threshold_positive = 0, threshold_negative = 0;
  // prefixes: added to the bits that are cut, by sign; and the bit that makes ties go to even
  std::uint32_t addend_positive = 0, addend_negative = 0, addend_odd = 0;
  std::uint32_t kept = 0;  // FP32's bits that a prefix keeps
  // Codes of what is past the largest finite value, and of NaN.
  std::uint32_t overflow_positive = 0, overflow_negative = 0;
  std::uint32_t infinity_positive = 0, infinity_negative = 0;
  std::uint32_t nan_positive = 0, nan_negative = 0;
  // Scaled kernels cast the FP32 product value * scale and multiply the errors by unscale.
  float scale = 1;
  float unscale = 1;
};

// How a format's codes follow from FP32's bits.
enum class KernelShape {
  scalar,  // none of the below: scalar.h does it (E8M0, formats without subnormals, odd exponent ranges)
  prefix,  // FP32's own exponents, a shorter mantissa: codes are FP32's upper bits (BF16, TF32, FP32)
  small,  // exponents well inside FP32's (FP16 and everything narrower)
};
KernelShape kernel_shape(const Format& format);
CastParameters cast_parameters(const Format& format, const CastOptions& options);

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
