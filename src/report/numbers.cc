#include "ullage/report/numbers.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace ullage::report {
namespace {

// std::to_chars knows no locale. The widest text here is a fixed double: 309 digits, a point, 17
// places, a sign.
using Buffer = std::array<char, 352>;

template <class Number, class... Format>
std::string to_text(Number value, Format... format) {
  Buffer buffer;
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format...).ptr;
  return {buffer.data(), end};
}

template <class Number>
std::string not_finite(Number value) {
  if (std::isnan(value)) return "nan";
  return value < 0 ? "-inf" : "inf";
}

// "2.50e-07" -> "2.50e-7", "3.10e+12" -> "3.10e12".
std::string compact_exponent(const std::string& text) {
  const std::size_t at = text.find('e');
  std::string out = text.substr(0, at + 1);
  std::size_t digits = at + 1;
  if (text[digits] == '-') out += '-';
  if (text[digits] == '-' || text[digits] == '+') ++digits;
  while (digits + 1 < text.size() && text[digits] == '0') ++digits;
  return out + text.substr(digits);
}

std::string two_digits(std::int64_t value) {
  std::string text = std::to_string(value);
  if (value < 10) text.insert(text.begin(), '0');
  return text;
}

}  // namespace

std::string format_shortest(double value) {
  return std::isfinite(value) ? to_text(value) : not_finite(value);
}

std::string format_shortest(float value) {
  return std::isfinite(value) ? to_text(value) : not_finite(value);
}

std::string format_significant(double value, int digits) {
  if (!std::isfinite(value)) return not_finite(value);
  digits = std::clamp(digits, 1, 17);
  if (value == 0) return "0";
  const std::string scientific = to_text(value, std::chars_format::scientific, digits - 1);
  // The exponent after rounding: 9.996 with three digits is 10.0.
  const int exponent = std::atoi(scientific.c_str() + scientific.find('e') + 1);
  if (exponent < -4 || exponent >= 6) return compact_exponent(scientific);
  return to_text(value, std::chars_format::fixed, std::max(0, digits - 1 - exponent));
}

std::string format_above(double value, int digits) {
  const std::string nearest = format_significant(value, digits);
  double shown = value;
  std::from_chars(nearest.data(), nearest.data() + nearest.size(), shown);
  if (!std::isfinite(value) || shown >= value) return nearest;
  // One more in the last place shown.
  const std::size_t point = nearest.find('.'), exponent = nearest.find('e');
  const std::size_t end = std::min(exponent, nearest.size());
  const int decimals = point == std::string::npos ? 0 : static_cast<int>(end - point - 1);
  const int power = exponent == std::string::npos ? 0 : std::atoi(nearest.c_str() + exponent + 1);
  return format_significant(shown + std::pow(10.0, power - decimals), digits);
}

std::string format_fixed(double value, int decimals) {
  if (!std::isfinite(value)) return not_finite(value);
  return to_text(value, std::chars_format::fixed, std::clamp(decimals, 0, 17));
}

std::string format_count(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

std::string format_bytes(std::uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  constexpr std::array<const char*, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double size = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  // 999.5 is where three digits would become four.
  for (; size >= 999.5 && unit + 1 < kUnits.size(); ++unit) size /= 1024;
  return format_significant(size, 3) + " " + kUnits[unit];
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds < 0.9995) return format_fixed(seconds * 1000, 0) + " ms";
  if (seconds < 59.95) return format_significant(seconds, 3) + " s";
  if (seconds > 1e9) return format_significant(seconds, 3) + " s";
  const std::int64_t whole = std::llround(seconds);
  if (whole < 3600) return std::to_string(whole / 60) + " min " + two_digits(whole % 60) + " s";
  return std::to_string(whole / 3600) + " h " + two_digits(whole % 3600 / 60) + " min";
}

double round_to_digits(double value, int digits) {
  if (!std::isfinite(value)) return value;
  Buffer buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::scientific, std::clamp(digits, 1, 17) - 1)
                       .ptr;
  double rounded = value;
  const auto read = std::from_chars(buffer.data(), end, rounded);
  return read.ec == std::errc{} ? rounded
                                : value;  // rounding up at the end of the range would leave it
}

}  // namespace ullage::report
