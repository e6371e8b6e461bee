// A format and its rounding as loops over FP32 patterns want them, and the blocks that counts are added up in: what
// the casts of every processor share, so that all give the same bits. Nobody else needs it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ullage/formats/format.h"
#include "ullage/formats/rounding.h"

namespace ullage::formats {

// Elements whose errors share 16 running FP32 sums, one for each place in a row of 16. On the CPU also those of one
// kernel call at most: four such buffers fit the first-level cache.
inline constexpr std::size_t kBlock = 2048;
inline constexpr std::size_t kRow = 16;
// Elements that are looked at together: whether anything in them overflows decides how they are cast.
inline constexpr std::size_t kGroup = 32;
// Elements whose blocks' sums are added up first, and then join the total: what a CPU thread takes at a time, large
// against the cost of taking it, small against an array.
inline constexpr std::size_t kChunk = 32 * kBlock;

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

}  // namespace ullage::formats
