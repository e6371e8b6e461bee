#include "ullage/attention/shift.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numbers>
#include <string>
#include <type_traits>
#include <utility>

#include "attention/query_bits.h"
#include "ullage/attention/problem.h"
#include "ullage/formats/format.h"
#include "ullage/formats/random.h"

namespace ullage::attention {

namespace {

constexpr std::array<std::pair<ShiftRule, const char*>, 3> kNames = {{
    {ShiftRule::standard, "standard"},
    {ShiftRule::published, "published"},
    {ShiftRule::stabilised, "stabilised"},
}};

// Keeps the words apart from those that stochastic rounding draws with the same seed.
constexpr std::uint32_t kOffsetDomain = 0x73686674;

}  // namespace

const char* name_of(ShiftRule rule) {
  for (const auto& [value, name] : kNames) {
    if (value == rule) return name;
  }
  return "unknown";
}

Result<ShiftRule> shift_rule_from_name(std::string_view name) {
  for (const auto& [value, known] : kNames) {
    if (known == name) return value;
  }
  return Error{Code::usage,
               "no softmax shift has this name",
               std::string(name),
               "standard, published or stabilised",
               {}};
}

Status check(const Shift& shift) {
  if (!std::isfinite(shift.beta) || shift.beta < 1)
    return Error{Code::value_invalid,
                 "must be finite and at least 1",
                 "beta",
                 {},
                 std::to_string(shift.beta)};
  if (!std::isfinite(shift.tolerance) || shift.tolerance < 0)
    return Error{Code::value_invalid,
                 "must be finite and not negative",
                 "tolerance",
                 {},
                 std::to_string(shift.tolerance)};
  return {};
}

template <class T>
std::uint32_t bits_of(std::span<const T> query) {
  std::uint32_t sum = 0;
  int column = 0;
  for (const T x : query) {
    std::uint32_t bits = 0;
    if constexpr (std::is_same_v<T, Bf16>) {
      bits = static_cast<std::uint32_t>(x.bits) << 16;
    } else {
      bits = std::bit_cast<std::uint32_t>(static_cast<float>(x));
    }
    sum += mixed_bits(bits, column++);
  }
  return sum;
}

template std::uint32_t bits_of(std::span<const float>);
template std::uint32_t bits_of(std::span<const double>);
template std::uint32_t bits_of(std::span<const Bf16>);

double row_offset(std::uint64_t seed, const RowKey& row) {
  const auto word = formats::philox(
      {static_cast<std::uint32_t>(row.position) ^ row.bits, static_cast<std::uint32_t>(row.head),
       static_cast<std::uint32_t>(row.batch), kOffsetDomain},
      seed)[0];
  return std::numbers::ln2 * (1.0 + static_cast<double>(word) * formats::power_of_two(-32));
}

template <class Real>
RowMaximum<Real> advance(const RowMaximum<Real>& before, Real tile_top, std::size_t equal,
                         std::size_t near, const Shift& shift, Real offset) {
  RowMaximum<Real> after = before;
  if (tile_top > before.top) {
    after.top = tile_top;
    after.repeats = equal;
  } else if (tile_top == before.top) {
    after.repeats += equal;
  }
  switch (shift.rule) {
    case ShiftRule::standard:
      after.subtrahend = {after.top, Real{0}};
      break;
    case ShiftRule::published: {
      Real tile = tile_top;
      if (near > 1 && tile_top > 0) tile = static_cast<Real>(shift.beta) * tile_top;
      if (near > 1 && tile_top < 0) tile = Real{0};
      after.subtrahend = {std::max(before.subtrahend.value, tile), Real{0}};
      break;
    }
    case ShiftRule::stabilised:
      after.subtrahend = {after.top, after.repeats > 1 ? offset : Real{0}};
      break;
  }
  return after;
}

template RowMaximum<float> advance(const RowMaximum<float>&, float, std::size_t, std::size_t,
                                   const Shift&, float);
template RowMaximum<double> advance(const RowMaximum<double>&, double, std::size_t, std::size_t,
                                    const Shift&, double);

}  // namespace ullage::attention
