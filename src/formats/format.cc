#include "ullage/formats/format.h"

#include <string>

namespace ullage::formats {
namespace {

Error invalid(std::string field, std::string what, std::string expected, long found) {
  return {Code::value_invalid, std::move(what), std::move(field), std::move(expected),
          std::to_string(found)};
}

}  // namespace

Result<Format> find_format(std::string_view name) {
  std::string names;
  for (const Format& format : kFormats) {
    if (format.label() == name) return format;
    names += (names.empty() ? "" : ", ") + std::string(format.label());
  }
  return Error{Code::usage, "no such format; there are " + names, "format", "", std::string(name)};
}

Status check_format(const Format& format) {
  if (format.name[sizeof format.name - 1] != '\0')
    return invalid("name", "a format's name has at most 15 characters", "", 16);
  if (format.exponent_bits < 1 || format.exponent_bits > 8)
    return invalid("exponent_bits", "a format has 1 to 8 exponent bits", "1..8",
                   format.exponent_bits);
  if (format.mantissa_bits < 0 || format.mantissa_bits > 23)
    return invalid("mantissa_bits", "a format has 0 to 23 mantissa bits", "0..23",
                   format.mantissa_bits);
  if (!format.has_sign && (format.has_subnormals || format.nan == NanCodes::negative_zero ||
                           format.nan == NanCodes::ieee))
    return invalid("has_sign",
                   "a format without sign has no zero, no subnormals and NaN, if at all, "
                   "with all bits set",
                   "", 0);
  if (format.nan == NanCodes::ieee && !format.has_infinity)
    return invalid("has_infinity", "ieee NaN codes leave a code for infinity: the format has one",
                   "1", 0);
  if (format.nan == NanCodes::ieee && format.mantissa_bits == 0)
    return invalid("mantissa_bits", "ieee NaN codes need a mantissa", "1..23", 0);
  const std::int64_t taken =
      format.nan == NanCodes::ieee
          ? std::int64_t{1} << format.mantissa_bits
          : (format.has_infinity ? 1 : 0) + (format.nan == NanCodes::all_ones ? 1 : 0);
  const std::int64_t smallest = !format.has_sign        ? 0
                                : format.has_subnormals ? 1
                                                        : std::int64_t{1} << format.mantissa_bits;
  if ((std::int64_t{1} << format.magnitude_bits()) - taken <= smallest)
    return invalid("exponent_bits", "NaN and infinity leave no code for a positive number", "",
                   format.exponent_bits);
  Format unbiased = format;
  unbiased.bias = 0;
  const int least = unbiased.max_exponent() - 127;
  const int most = unbiased.quantum_exponent() + 149;
  if (format.bias < least || format.bias > most)
    return invalid("bias", "FP32 does not hold every value of this format",
                   least > most ? "none does" : std::to_string(least) + ".." + std::to_string(most),
                   format.bias);
  return {};
}

}  // namespace ullage::formats
