// Formats by text: a card's name or eXmY, and what differs from that.
#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <utility>

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

// "e3m4" -> an IEEE format of 3 exponent and 4 mantissa bits.
std::optional<Format> ieee_format(std::string_view text) {
  const std::size_t m = text.find('m');
  if (!text.starts_with('e') || m == std::string_view::npos) return std::nullopt;
  const auto exponent = to_integer(text.substr(1, m - 1));
  const auto mantissa = to_integer(text.substr(m + 1));
  if (!exponent || !mantissa) return std::nullopt;
  Format format = {.exponent_bits = *exponent, .mantissa_bits = *mantissa};
  if (*exponent >= 1 && *exponent <= 8) format.bias = (1 << (*exponent - 1)) - 1;
  text.copy(format.name, sizeof format.name - 1);
  return format;
}

// What options ask for; nullopt: nothing.
struct Changes {
  std::optional<int> bias;
  std::optional<NanCodes> nan;
  std::optional<bool> infinity;
  std::optional<bool> subnormals;
};

template <class Value>
using Words = std::pair<std::string_view, Value>;
constexpr Words<NanCodes> kNanWords[] = {{"ieee", NanCodes::ieee},
                                         {"all-ones", NanCodes::all_ones},
                                         {"negative-zero", NanCodes::negative_zero},
                                         {"none", NanCodes::none}};
constexpr Words<bool> kAnswers[] = {{"yes", true}, {"no", false}};

template <class Value, std::size_t kCount>
std::optional<Value> find(const Words<Value> (&words)[kCount], std::string_view text) {
  for (const auto& [word, value] : words)
    if (word == text) return value;
  return std::nullopt;
}

// Each reads its value; false where it cannot.
constexpr Words<bool (*)(std::string_view, Changes&)> kOptions[] = {
    {"bias",
     [](std::string_view value, Changes& to) { return (to.bias = to_integer(value)).has_value(); }},
    {"nan", [](std::string_view value,
               Changes& to) { return (to.nan = find(kNanWords, value)).has_value(); }},
    {"infinity", [](std::string_view value,
                    Changes& to) { return (to.infinity = find(kAnswers, value)).has_value(); }},
    {"subnormals", [](std::string_view value,
                      Changes& to) { return (to.subnormals = find(kAnswers, value)).has_value(); }},
};

// One "key=value"; false when it is none of those there are.
bool read_option(std::string_view option, Changes& changes) {
  const std::size_t equals = std::min(option.find('='), option.size());
  const auto read = find(kOptions, option.substr(0, equals));
  return read && equals < option.size() && (*read)(option.substr(equals + 1), changes);
}

}  // namespace

Result<Format> format_from_text(std::string_view text) {
  const std::size_t colon = std::min(text.find(':'), text.size());
  const std::string_view name = text.substr(0, colon);
  const Result<Format> card = find_format(name);
  const std::optional<Format> base = card.ok() ? *card : ieee_format(name);
  if (!base) return card;
  Changes changes;
  for (std::size_t at = colon; at < text.size();) {
    const std::size_t end = std::min(text.find(',', at + 1), text.size());
    if (!read_option(text.substr(at + 1, end - at - 1), changes))
      return Error{Code::usage,
                   "options of a format are bias=N, nan=ieee|all-ones|negative-zero|none, "
                   "infinity=yes|no, subnormals=yes|no",
                   "format", "", std::string(text)};
    at = end;
  }
  Format format = *base;
  if (changes.bias) format.bias = *changes.bias;
  if (changes.nan) {
    format.nan = *changes.nan;
    format.has_infinity = format.nan == NanCodes::ieee;
  }
  if (changes.infinity) format.has_infinity = *changes.infinity;
  if (changes.subnormals) format.has_subnormals = *changes.subnormals;
  ULLAGE_TRY(check_format(format));
  return format;
}

}  // namespace ullage::formats
