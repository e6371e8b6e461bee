#include "ullage/attention/problem.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>

namespace ullage::attention {

namespace {

Error invalid(std::string what, std::string_view where, std::string expected = {},
              std::string found = {}) {
  return {Code::value_invalid, std::move(what), std::string(where), std::move(expected),
          std::move(found)};
}

Status check_starts(std::span<const std::size_t> starts, std::size_t batch, std::size_t rows,
                    std::string_view where) {
  if (starts.size() != batch + 1)
    return invalid("needs one entry more than there are sequences", where,
                   std::to_string(batch + 1), std::to_string(starts.size()));
  if (starts.front() != 0 || !std::is_sorted(starts.begin(), starts.end()) || starts.back() != rows)
    return invalid("must ascend from 0 to the number of rows", where, std::to_string(rows),
                   std::to_string(starts.back()));
  return {};
}

Status check_count(std::size_t found, std::size_t expected, std::string_view where) {
  if (found != 0 && found != expected)
    return invalid("has the wrong number of entries", where, std::to_string(expected),
                   std::to_string(found));
  return {};
}

Status check_descales(std::span<const float> descales, std::size_t expected,
                      std::string_view where) {
  ULLAGE_TRY(check_count(descales.size(), expected, where));
  for (const float descale : descales) {
    if (!(descale > 0) || !std::isfinite(descale))
      return invalid("must be positive and finite", where, "", std::to_string(descale));
  }
  return {};
}

Status check_shape(const Shape& shape) {
  if (shape.batch == 0 || shape.query_heads == 0 || shape.kv_heads == 0)
    return invalid("batch and head counts must be at least 1", "shape");
  if (shape.query_heads % shape.kv_heads != 0)
    return invalid("query heads must be a multiple of kv heads", "shape",
                   "a multiple of " + std::to_string(shape.kv_heads),
                   std::to_string(shape.query_heads));
  const auto in_range = [](std::size_t width) { return width >= 1 && width <= kMaxWidth; };
  if (!in_range(shape.width) || !in_range(shape.value_width))
    return invalid("head widths must lie in [1, 256]", "shape", "",
                   std::to_string(shape.width) + " and " + std::to_string(shape.value_width));
  return {};
}

}  // namespace

template <class Real>
double Inputs<Real>::score_scale() const {
  return scale ? *scale : 1.0 / std::sqrt(static_cast<double>(shape.width));
}

template <class Real>
Status check(const Inputs<Real>& inputs) {
  const Shape& shape = inputs.shape;
  ULLAGE_TRY(check_shape(shape));
  const bool rows = shape.queries != 0;
  const bool keys = shape.keys != 0;
  if ((rows && !inputs.q) || (keys && (!inputs.k || !inputs.v)))
    return invalid("q, k and v must not be null", "q, k, v");
  if (!std::isfinite(inputs.score_scale())) return invalid("must be finite", "scale");
  // Arithmetic in FP32 would take others for 0, none at all, or for infinity, and give NaN.
  if (inputs.soft_cap != 0 && !(inputs.soft_cap >= std::numeric_limits<float>::min() &&
                                inputs.soft_cap <= std::numeric_limits<float>::max()))
    return invalid("must be 0 (none) or a positive normal number of FP32", "soft_cap");
  const bool packed = !inputs.packed.query_starts.empty() || !inputs.packed.key_starts.empty();
  if (packed) {
    ULLAGE_TRY(
        check_starts(inputs.packed.query_starts, shape.batch, shape.queries, "query_starts"));
    ULLAGE_TRY(check_starts(inputs.packed.key_starts, shape.batch, shape.keys, "key_starts"));
    if (!inputs.mask.padding.empty())
      return invalid("packed sequences have no padding: leave the mask's padding empty", "padding");
  }
  ULLAGE_TRY(check_count(inputs.mask.padding.size(), shape.batch * shape.keys, "padding"));
  ULLAGE_TRY(check_count(inputs.sinks.size(), shape.query_heads, "sinks"));
  const std::size_t descales = shape.batch * shape.kv_heads;
  ULLAGE_TRY(check_descales(inputs.descales.q, descales, "descales.q"));
  ULLAGE_TRY(check_descales(inputs.descales.k, descales, "descales.k"));
  ULLAGE_TRY(check_descales(inputs.descales.v, descales, "descales.v"));
  return {};
}

template struct Inputs<float>;
template struct Inputs<double>;
template struct Inputs<Bf16>;
template Status check(const Inputs<float>&);
template Status check(const Inputs<double>&);
template Status check(const Inputs<Bf16>&);

Sequence sequence_of(const Shape& shape, const Packed& packed, std::size_t b) {
  if (packed.query_starts.empty()) return {b, b, 0, 0, shape.queries, shape.keys};
  return {b,
          0,
          packed.query_starts[b],
          packed.key_starts[b],
          packed.query_starts[b + 1] - packed.query_starts[b],
          packed.key_starts[b + 1] - packed.key_starts[b]};
}

KeyRange visible_keys(const Mask& mask, const Sequence& sequence, std::size_t query) {
  const auto keys = static_cast<std::ptrdiff_t>(sequence.keys);
  std::ptrdiff_t diagonal = static_cast<std::ptrdiff_t>(query);
  if (mask.alignment == Alignment::bottom_right)
    diagonal += keys - static_cast<std::ptrdiff_t>(sequence.queries);
  // A window wider than the sequence is no window; cutting it here also keeps the sums in range.
  const auto reach = [&](std::size_t side) {
    return static_cast<std::ptrdiff_t>(std::min(side, sequence.keys + sequence.queries));
  };
  const std::ptrdiff_t first = mask.left ? diagonal - reach(*mask.left) : 0;
  const std::ptrdiff_t last = mask.right ? diagonal + reach(*mask.right) + 1 : keys;
  const std::ptrdiff_t begin = std::clamp<std::ptrdiff_t>(first, 0, keys);
  const std::ptrdiff_t end = std::clamp<std::ptrdiff_t>(last, begin, keys);
  return {static_cast<std::size_t>(begin), static_cast<std::size_t>(end)};
}

}  // namespace ullage::attention
