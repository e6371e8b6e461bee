// Formats by text: a card's name, or eXmY with options.
#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

#include "ullage/formats/format.h"

namespace ullage::formats {
namespace {

std::optional<int> to_integer(std::string_view text) {
  int value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc() || stop != end) return std::nullopt;
  return value;
}

// "e3m4" -> exponent and mantissa bits.
bool read_bits(std::string_view text, Format& format) {
  const std::size_t m = text.find('m');
  if (!text.starts_with('e') || m == std::string_view::npos) return false;
  const auto exponent = to_integer(text.substr(1, m - 1));
  const auto mantissa = to_integer(text.substr(m + 1));
  if (!exponent || !mantissa) return false;
  format.exponent_bits = *exponent;
  format.mantissa_bits = *mantissa;
  return true;
}

std::optional<bool> to_answer(std::string_view text) {
  if (text == "yes") return true;
  if (text == "no") return false;
  return std::nullopt;
}

constexpr std::pair<std::string_view, NanCodes> kNanNames[] = {
    {"ieee", NanCodes::ieee},
    {"all-ones", NanCodes::all_ones},
    {"negative-zero", NanCodes::negative_zero},
    {"none", NanCodes::none}};

// One "key=value"; false when it is none of those there are.
bool read_option(std::string_view option, Format& format, std::optional<bool>& infinity) {
  const std::size_t equals = option.find('=');
  if (equals == std::string_view::npos) return false;
  const std::string_view key = option.substr(0, equals);
  const std::string_view value = option.substr(equals + 1);
  if (key == "bias") {
    const auto bias = to_integer(value);
    if (bias) format.bias = *bias;
    return bias.has_value();
  }
  if (key == "nan") {
    for (const auto& [name, codes] : kNanNames)
      if (value == name) {
        format.nan = codes;
        return true;
      }
    return false;
  }
  const auto answer = to_answer(value);
  if (!answer) return false;
  if (key == "infinity") {
    infinity = answer;
    return true;
  }
  if (key == "subnormals") {
    format.has_subnormals = *answer;
    return true;
  }
  return false;
}

}  // namespace

Result<Format> format_from_text(std::string_view text) {
  Result<Format> card = find_format(text);
  const std::size_t colon = std::min(text.find(':'), text.size());
  const std::string_view bits = text.substr(0, colon);
  Format format;
  if (card.ok() || !read_bits(bits, format)) return card;
  format.bias = format.exponent_bits >= 1 && format.exponent_bits <= 8
                    ? (1 << (format.exponent_bits - 1)) - 1
                    : 0;
  bits.substr(0, sizeof format.name - 1).copy(format.name, sizeof format.name - 1);
  std::optional<bool> infinity;
  std::string_view rest = colon == text.size() ? "" : text.substr(colon + 1);
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    if (!read_option(rest.substr(0, comma), format, infinity))
      return Error{Code::usage,
                   "options of a format are bias=N, nan=ieee|all-ones|negative-zero|none, "
                   "infinity=yes|no, subnormals=yes|no",
                   "format", "", std::string(text)};
    rest = comma == rest.size() ? "" : rest.substr(comma + 1);
  }
  format.has_infinity = infinity.value_or(format.nan == NanCodes::ieee);
  ULLAGE_TRY(check_format(format));
  return format;
}

}  // namespace ullage::formats
