// Grams in FP64, on entries scaled by a power of two where their squares would leave its range.
#include <algorithm>
#include <cmath>

#include "spectrum/gram_parts.h"
#include "ullage/base/multiple.h"

namespace ullage::spectrum {

namespace {

// FP64 entries with exponents up to this are squared as they are.
constexpr int kPlainExponent = 430;

// Scale of a precise Gram: weights times 2^-weight, gains times 2^-gain, both exact but for underflow.
struct Exponents {
  int weight = 0;
  int gain = 0;
};

double largest_gain(const HeadRows& rows) {
  if (rows.gain.empty()) return 1.0;
  double largest = 0.0;
  for (const double value : rows.gain) {
    if (std::isnan(value)) return value;
    largest = std::max(largest, std::abs(value));
  }
  return largest;
}

Exponents exponents_of(double weight, double gain) {
  if (weight == 0.0 || gain == 0.0) return {};
  const int sum = std::ilogb(weight) + std::ilogb(gain);
  if (std::abs(sum) <= kPlainExponent && std::abs(std::ilogb(weight)) <= kPlainExponent &&
      std::abs(std::ilogb(gain)) <= kPlainExponent) {
    return {};
  }
  // Powers of two within the range of double: a few bits short for the largest and the subnormal, which is enough.
  return {std::clamp(std::ilogb(weight), -1000, 1000), std::clamp(std::ilogb(gain), -1000, 1000)};
}

// The precise side: FP64 gains times 2^-gain, means, and panels.
struct PreciseSide {
  const HeadRows& rows;
  SideBuffers& buffers;
  double weight_scale;
  std::vector<double> minus;

  PreciseSide(const HeadRows& rows_in, SideBuffers& buffers_in, Exponents exponents)
      : rows(rows_in),
        buffers(buffers_in),
        weight_scale(std::ldexp(1.0, -exponents.weight)),
        minus(size(rows_in.rows)) {
    buffers.wide_gain.assign(size(rows.width), std::ldexp(1.0, -exponents.gain));
    for (std::size_t c = 0; c < rows.gain.size(); ++c) buffers.wide_gain[c] *= rows.gain[c];
    buffers.wide_panel.assign(size(panel_stride(rows.rows)) * kPanelColumns, 0.0);
    if (!rows.project_mean) return;
    with_values(rows, [&](auto* values) {
      for (int r = 0; r < rows.rows; ++r) {
        double sum = 0.0;
        for (int c = 0; c < rows.width; ++c) {
          sum += decode(values[r * rows.stride + c]) * weight_scale * buffers.wide_gain[size(c)];
        }
        minus[size(r)] = sum / rows.width;
      }
    });
  }

  void pack(int column, int columns) {
    const int stride = panel_stride(rows.rows);
    with_values(rows, [&](auto* values) {
      for (int r = 0; r < rows.rows; ++r) {
        const auto* row = values + r * rows.stride + column;
        const double* gain = buffers.wide_gain.data() + column;
        double* out = buffers.wide_panel.data() + r;
        for (int c = 0; c < columns; ++c) {
          out[c * stride] = decode(row[c]) * weight_scale * gain[c] - minus[size(r)];
        }
      }
    });
  }
};

}  // namespace

bool precise_gram(const HeadRows& rows, GramWorkspace::Buffers& buffers, Gram& out) {
  const double weight = largest_magnitude(rows);
  const double gain = largest_gain(rows);
  if (!std::isfinite(weight) || !std::isfinite(gain)) return false;
  const Exponents exponents = exponents_of(weight, gain);
  const int n = rows.rows;
  const int stride = panel_stride(n);
  double* const sums = place_sums(n, n, buffers.sums, out.values);
  PreciseSide side(rows, buffers.a, exponents);
  for (int column = 0; column < rows.width; column += kPanelColumns) {
    const int columns = std::min(kPanelColumns, rows.width - column);
    side.pack(column, columns);
    const double* panel = buffers.a.wide_panel.data();
    current_kernels().product_f64(panel, stride, n, panel, stride, n, columns, Part::upper,
                                  column == 0 ? Sums::first : Sums::more, sums);
  }
  mirror_upper(sums, n, out.values);
  out.exponent = exponents.weight + exponents.gain;
  out.means.clear();
  if (rows.project_mean) out.means = side.minus;
  const int blocks = ceil_divide(rows.width, kPanelColumns);
  set_bounds(
      rows,
      {.sum_unit = (kPanelColumns + blocks + 4) * kU64,
       .fold_unit = folds(rows) ? 4.0 * kU64 : 0.0,
       .floor =
           weight * gain == 0.0 && (weight == 0.0 || gain == 0.0) ? 0.0 : rows.width * 0x1p-1060},
      out);
  return true;
}

bool precise_cross(const HeadRows& a, const HeadRows& b, GramWorkspace::Buffers& buffers,
                   Matrix& out) {
  const double weight_a = largest_magnitude(a);
  const double weight_b = largest_magnitude(b);
  const double gain_a = largest_gain(a);
  const double gain_b = largest_gain(b);
  if (!std::isfinite(weight_a + weight_b) || !std::isfinite(gain_a + gain_b)) return false;
  PreciseSide side_a(a, buffers.a, exponents_of(weight_a, gain_a));
  PreciseSide side_b(b, buffers.b, exponents_of(weight_b, gain_b));
  double* const sums = place_sums(a.rows, b.rows, buffers.sums, out);
  for (int column = 0; column < a.width; column += kPanelColumns) {
    const int columns = std::min(kPanelColumns, a.width - column);
    side_a.pack(column, columns);
    side_b.pack(column, columns);
    current_kernels().product_f64(buffers.a.wide_panel.data(), panel_stride(a.rows), a.rows,
                                  buffers.b.wide_panel.data(), panel_stride(b.rows), b.rows,
                                  columns, Part::all, column == 0 ? Sums::first : Sums::more, sums);
  }
  take_sums(sums, a.rows, b.rows, out);
  return true;
}

}  // namespace ullage::spectrum
