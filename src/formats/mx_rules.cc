// The scale rules of MX blocks, and which of them can clip.
#include <bit>
#include <cmath>
#include <string>

#include "formats/mx_parameters.h"
#include "formats/mx_scale.h"
#include "ullage/formats/blocks.h"
#include "ullage/formats/scalar.h"

namespace ullage::formats {

const char* name_of(ScaleRule rule) {
  switch (rule) {
    case ScaleRule::floor:
      return "floor";
    case ScaleRule::ceil:
      return "ceil";
    case ScaleRule::round_up:
      return "round-up";
    case ScaleRule::even:
      return "even";
  }
  return "unknown";
}

Result<ScaleRule> scale_rule_from_name(std::string_view name) {
  if (name == "rceil") return ScaleRule::round_up;
  for (const ScaleRule rule : kScaleRules)
    if (name == name_of(rule)) return rule;
  return Error{Code::usage, "no such scale rule; there are floor, ceil, round-up and even", "rule",
               "", std::string(name)};
}

MxParameters mx_parameters(ScaleRule rule, const Format& element) {
  MxParameters p;
  p.emax = element.max_exponent();
  switch (rule) {
    case ScaleRule::floor:
      break;
    case ScaleRule::ceil:
      p.addend = 0x7FFFFF;
      break;
    case ScaleRule::even:
      p.addend = std::uint32_t{1} << (22 - element.mantissa_bits);
      break;
    case ScaleRule::round_up:
      p.by_reciprocal = true;
      p.reciprocal = static_cast<float>(1 / element.max_finite());
      break;
  }
  return p;
}

std::uint8_t mx_scale(ScaleRule rule, const Format& element, float amax) {
  const std::uint32_t pattern = std::bit_cast<std::uint32_t>(amax) & 0x7FFFFFFF;
  return static_cast<std::uint8_t>(mx_scale_code(mx_parameters(rule, element), pattern));
}

ClipRange clip_range(ScaleRule rule, const Format& element) {
  // Past this, rounding to nearest overflows: half a step above the largest value, which is a tie.
  const double binade = std::ldexp(1.0, element.max_exponent());
  const double threshold = element.max_finite() + std::ldexp(binade, -element.mantissa_bits - 1);
  const bool tie_overflows = (element.max_code() & 1) != 0;
  ClipRange range;
  range.from = tie_overflows ? threshold / binade
                             : std::nextafter(static_cast<float>(threshold / binade), 4.0F);
  switch (rule) {
    case ScaleRule::floor:
      range.to = 2;
      break;
    case ScaleRule::even:
      range.to = 2 - std::ldexp(1.0, -element.mantissa_bits - 1);
      break;
    case ScaleRule::ceil:  // scaled amax is at most 2^emax
    case ScaleRule::
        round_up:  // at most the largest value, but for the rounding of one FP32 product
      range.to = 0;
      break;
  }
  return range;
}

Result<BlockFormat> find_block_format(std::string_view name) {
  std::string names;
  for (const BlockFormat& format : kBlockFormats) {
    if (format.label() == name) return format;
    names += (names.empty() ? "" : ", ") + std::string(format.label());
  }
  return Error{Code::usage, "no such block format; there are " + names, "format", "",
               std::string(name)};
}

void pack_nibbles(std::span<const std::uint8_t> codes, std::span<std::uint8_t> bytes) {
  for (std::size_t i = 0; i < codes.size(); i += 2) {
    const unsigned high = i + 1 < codes.size() ? codes[i + 1] & 0xFU : 0;
    bytes[i / 2] = static_cast<std::uint8_t>((codes[i] & 0xFU) | high << 4);
  }
}

void unpack_nibbles(std::span<const std::uint8_t> bytes, std::span<std::uint8_t> codes) {
  for (std::size_t i = 0; i < codes.size(); ++i)
    codes[i] = static_cast<std::uint8_t>(bytes[i / 2] >> (i % 2 * 4) & 0xF);
}

}  // namespace ullage::formats
