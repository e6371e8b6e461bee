// Which kernel a format takes, and the numbers it needs.
#include "formats/kernels.h"

#include <bit>
#include <limits>

#include "ullage/formats/scalar.h"

namespace ullage::formats {

KernelShape kernel_shape(const Format& format) {
  if (!format.has_sign || !format.has_subnormals) return KernelShape::scalar;
  if (format.exponent_bits == kFp32.exponent_bits && format.bias == kFp32.bias &&
      format.nan == NanCodes::ieee)
    return KernelShape::prefix;
  // The last place of every binade, one over it, and the magic number past the largest binade are normal FP32
  // numbers; what FP32 has below its normal numbers is far below half the smallest step; the codes fit
  // the 23 bits of a mantissa, and the first of a binade is even.
  if (format.quantum_exponent() >= -90 && format.quantum_exponent() <= 0 &&
      format.max_exponent() <= 90 && format.magnitude_bits() <= 22 && format.mantissa_bits >= 1)
    return KernelShape::small;
  return KernelShape::scalar;
}

namespace {

// The pattern of the largest FP32 magnitude whose rounding does not overflow, for either sign; or of one below it.
std::uint32_t safe_pattern(const Format& format, Rounding rounding) {
  const auto most = static_cast<float>(format.max_finite());
  if (rounding != Rounding::nearest_even && rounding != Rounding::nearest_away)
    return std::bit_cast<std::uint32_t>(most);
  // Half a step above the largest value is a tie.
  const double tie =
      format.max_finite() + power_of_two(format.max_exponent() - format.mantissa_bits - 1);
  if (tie > static_cast<double>(std::numeric_limits<float>::max()) ||
      static_cast<double>(static_cast<float>(tie)) != tie)
    return std::bit_cast<std::uint32_t>(most);
  const auto pattern = std::bit_cast<std::uint32_t>(static_cast<float>(tie));
  const bool over = overflows(format, tie, {.overflow = Overflow::saturate, .rounding = rounding});
  return over ? pattern - 1 : pattern;
}

}  // namespace

CastParameters cast_parameters(const Format& format, const CastOptions& options) {
  constexpr std::uint32_t kNever = 0x7FFFFFFF;
  constexpr std::uint32_t kTwoTo23 = 0x4B000000;
  const auto pattern = [](int exponent) {
    return static_cast<std::uint32_t>(exponent + 127) << 23;
  };
  CastParameters p;
  p.mantissa_bits = format.mantissa_bits;
  p.mantissa_shift = 23 - format.mantissa_bits;
  p.sign_shift = 31 - format.magnitude_bits();
  p.sign_mask = format.sign_mask();
  p.max_code = format.max_code();
  p.drops_negative_zero = !format.has_negative_zero();
  p.safe = safe_pattern(format, options.rounding);
  p.kept = ~std::uint32_t{0} << p.mantissa_shift;
  if (kernel_shape(format) == KernelShape::small) {
    const int shift = p.mantissa_shift;
    p.least = pattern(format.min_exponent());
    p.cap = pattern(format.max_exponent() + 1);
    p.magic = (static_cast<std::uint32_t>(shift) << 23) - (p.least >> shift);
    p.inverse_unit = static_cast<std::uint32_t>(254 + format.mantissa_bits) << 23;
    p.base = (p.least >> shift) + kTwoTo23;
  }
  const std::uint32_t all = (std::uint32_t{1} << p.mantissa_shift) - 1;  // of the bits that are cut
  p.threshold_positive = p.threshold_negative = kNever;
  switch (options.rounding) {
    case Rounding::nearest_even:
      p.addend_positive = p.addend_negative = all >> 1;
      p.addend_odd = all != 0 ? 1 : 0;
      break;
    case Rounding::nearest_away:
      p.addend_positive = p.addend_negative = all - (all >> 1);
      p.threshold_positive = p.threshold_negative = pattern(-1) - 1;
      break;
    case Rounding::up:
      p.addend_positive = all;
      p.threshold_positive = 0;
      break;
    case Rounding::down:
      p.addend_negative = all;
      p.threshold_negative = 0;
      break;
    case Rounding::toward_zero:
    case Rounding::stochastic:
      break;
  }
  p.overflow_positive = detail::overflow_code(format, false, false, options);
  p.overflow_negative = detail::overflow_code(format, true, false, options);
  p.infinity_positive = detail::overflow_code(format, false, true, options);
  p.infinity_negative = detail::overflow_code(format, true, true, options);
  p.nan_positive = detail::nan_result(format, false);
  p.nan_negative = detail::nan_result(format, true);
  return p;
}

}  // namespace ullage::formats
