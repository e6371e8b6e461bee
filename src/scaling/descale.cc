#include "ullage/scaling/descale.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "ullage/formats/scalar.h"

namespace ullage::scaling {

namespace {

using formats::Format;

constexpr formats::CastOptions kUp = {.overflow = formats::Overflow::non_saturating,
                                      .rounding = formats::Rounding::up};

Status check(double bound, const DescaleRule& rule) {
  if (!std::isfinite(bound)) {
    return Error{Code::not_finite, "a bound that is not finite gives no scale", "bound", {}, {}};
  }
  if (bound < 0.0) {
    return Error{Code::value_invalid, "a bound cannot be negative", "bound", "0 or more",
                 std::to_string(bound)};
  }
  if (!(rule.eta > 0.0 && rule.eta <= 1.0)) {
    return Error{
        Code::value_invalid, "eta must lie in (0, 1]", "eta", {}, std::to_string(rule.eta)};
  }
  return {};
}

Error too_large(const Format& stored) {
  return {Code::not_finite,
          "the bound is too large for the format of its scale",
          "bound",
          std::string(stored.label()),
          {}};
}

// a b <= c in exact arithmetic: the sign of a fused multiply-add is exact.
bool product_at_most(double a, double b, double c) { return std::fma(a, b, -c) <= 0.0; }

double next_up(const Format& stored, double value) {
  return formats::round_to(stored, std::nextafter(value, std::numeric_limits<double>::infinity()),
                           kUp);
}

// Whether x / scale and x * (FP32 reciprocal of scale) stay within range for |x| <= bound.
bool holds(double bound, double scale, double range) {
  const float reciprocal = 1.0F / static_cast<float>(scale);
  return product_at_most(-scale, range, -bound) &&
         product_at_most(static_cast<double>(reciprocal), bound, range);
}

}  // namespace

Result<double> descale(double bound, const DescaleRule& rule) {
  ULLAGE_TRY(check(bound, rule));
  const double range = rule.eta * rule.target.max_finite();
  const double exact = bound / range;
  if (bound == 0.0 || (rule.stored.has_zero() && exact < rule.stored.min_normal())) return 1.0;
  double scale = formats::round_to(rule.stored, exact, kUp);
  // At most two steps: the quotient was rounded once, the reciprocal once.
  while (std::isfinite(scale) && !holds(bound, scale, range)) scale = next_up(rule.stored, scale);
  if (!std::isfinite(scale)) return too_large(rule.stored);
  return scale;
}

Result<float> multiplier(double bound, const DescaleRule& rule) {
  ULLAGE_TRY(check(bound, rule));
  const double range = rule.eta * rule.target.max_finite();
  constexpr double kLeast = std::numeric_limits<float>::min();
  if (bound / range < kLeast) return 1.0F;
  auto scale = static_cast<float>(range / bound);
  while (!product_at_most(static_cast<double>(scale), bound, range)) {
    scale = std::nextafter(scale, 0.0F);
  }
  // A subnormal multiplier would be flushed to zero.
  if (static_cast<double>(scale) < kLeast) return too_large(formats::kFp32);
  return scale;
}

double utilisation(double largest, double descale, const Format& target) {
  return largest / (descale * target.max_finite());
}

Result<std::vector<double>> group_maximum(std::span<const double> query_bounds, int group) {
  if (group < 1 || query_bounds.size() % static_cast<std::size_t>(group) != 0) {
    return Error{Code::value_invalid, "query heads are no whole number of groups", "group",
                 std::to_string(group), std::to_string(query_bounds.size())};
  }
  std::vector<double> out;
  for (std::size_t first = 0; first < query_bounds.size();
       first += static_cast<std::size_t>(group)) {
    const auto heads = query_bounds.subspan(first, static_cast<std::size_t>(group));
    out.push_back(*std::max_element(heads.begin(), heads.end()));
  }
  return out;
}

double static_probability_multiplier(const Format& target, bool power_of_two) {
  return power_of_two ? std::exp2(target.max_exponent()) : target.max_finite();
}

}  // namespace ullage::scaling
