// Sums over single rows of a head: norms, products with a vector, magnitudes.
#include <algorithm>
#include <cmath>

#include "spectrum/gram_parts.h"

namespace ullage::spectrum {

double largest_magnitude(const HeadRows& rows) {
  if (rows.element == Element::bf16) {
    // BF16's order is that of its bits without the sign; NaN lies above infinity.
    const auto* values = static_cast<const std::uint16_t*>(rows.values);
    std::int16_t largest = 0;
    for (int r = 0; r < rows.rows; ++r) {
      for (int c = 0; c < rows.width; ++c) {
        const auto bits = static_cast<std::int16_t>(values[r * rows.stride + c] & 0x7fff);
        largest = std::max(largest, bits);
      }
    }
    return decode(static_cast<std::uint16_t>(largest));
  }
  return with_values(rows, [&](auto* values) {
    double largest = 0.0;
    for (int r = 0; r < rows.rows; ++r) {
      for (int c = 0; c < rows.width; ++c) {
        const double value = std::abs(decode(values[r * rows.stride + c]));
        if (!(value <= largest)) largest = value;  // takes NaN
        if (std::isnan(largest)) return largest;
      }
    }
    return largest;
  });
}

bool row_norms_squared(const HeadRows& rows, GramWorkspace& workspace, std::span<double> out) {
  assert(out.size() == size(rows.rows));
  SideBuffers& side = workspace.buffers().a;
  side.prepare(rows);
  const auto precise_row = [&](int r) {
    HeadRows row = rows;
    row.rows = 1;
    with_values(rows, [&](auto* values) { row.values = values + r * rows.stride; });
    Gram one;
    if (!precise_gram(row, workspace.buffers(), one)) return false;
    out[size(r)] =
        std::ldexp(one.values(0, 0) + one.inflation, 2 * one.exponent) * (1.0 + 4.0 * kU64);
    return true;
  };
  if (rows.element != Element::f64 && rows.project_mean) {
    fast_means(rows, side.gain.data(), side.minus.data());
  }
  for (int r = 0; r < rows.rows; ++r) {
    if (rows.element == Element::f64) {
      if (!precise_row(r)) return false;
      continue;
    }
    const float minus = side.minus[size(r)];
    const double sum = rows.element == Element::bf16
                           ? current_kernels().square_sum_bf16(
                                 static_cast<const std::uint16_t*>(rows.values) + r * rows.stride,
                                 rows.width, side.gain.data(), minus)
                           : current_kernels().square_sum_f32(
                                 static_cast<const float*>(rows.values) + r * rows.stride,
                                 rows.width, side.gain.data(), minus);
    if (!(sum >= kLeastTrace && sum <= kMostTrace)) {
      if (!precise_row(r)) return false;
      side.prepare(rows);
      if (rows.project_mean) fast_means(rows, side.gain.data(), side.minus.data());
      continue;
    }
    const double squares = sum * (1.0 + (kPanelColumns + 4) * kU32 + rows.width * kU64);
    const double entry = folds(rows) ? 2.0 * kU32 : 0.0;
    const double fold = entry * std::sqrt(squares + rows.width * static_cast<double>(minus) *
                                                        static_cast<double>(minus));
    const double root = std::sqrt(squares) + fold;
    out[size(r)] = (root * root + rows.width * kUnderflow * (1.0 + root)) * (1.0 + 1e-9);
  }
  return true;
}

void row_products(const HeadRows& rows, std::span<const double> x, std::span<double> out) {
  assert(x.size() == size(rows.width) && out.size() == size(rows.rows));
  with_values(rows, [&](auto* values) {
    for (int r = 0; r < rows.rows; ++r) {
      const auto* row = values + r * rows.stride;
      double sums[8] = {};
      int c = 0;
      for (; c + 8 <= rows.width; c += 8) {
        for (int k = 0; k < 8; ++k) sums[k] += decode(row[c + k]) * x[size(c + k)];
      }
      for (; c < rows.width; ++c) sums[0] += decode(row[c]) * x[size(c)];
      out[size(r)] =
          ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    }
  });
}

void read_row(const HeadRows& rows, int row, std::span<double> out) {
  assert(out.size() == size(rows.width));
  with_values(rows, [&](auto* values) {
    for (int c = 0; c < rows.width; ++c) out[size(c)] = decode(values[row * rows.stride + c]);
  });
}

}  // namespace ullage::spectrum
