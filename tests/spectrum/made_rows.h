// Heads made for the tests: values in each element type, and the folded matrix in long double.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "spectrum/made.h"
#include "ullage/spectrum/gram.h"

namespace ullage::spectrum {

// Nearest-even BF16 of a double, by way of float.
inline std::uint16_t to_bf16(double value) {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Rows of their own, with stride wider than the rows so that a kernel that ignores it is seen.
struct MadeRows {
  std::vector<std::uint16_t> bf16;
  std::vector<float> f32;
  std::vector<double> f64;
  std::vector<double> gain;
  HeadRows rows;

  MadeRows(const Matrix& values, Element element, std::vector<double> gains, bool project_mean)
      : gain(std::move(gains)) {
    const auto stride = static_cast<std::size_t>(values.columns()) + 3;
    const std::size_t count = stride * static_cast<std::size_t>(values.rows());
    rows = {.values = nullptr,
            .element = element,
            .rows = values.rows(),
            .width = values.columns(),
            .stride = static_cast<std::ptrdiff_t>(stride),
            .gain = gain,
            .project_mean = project_mean};
    bf16.assign(element == Element::bf16 ? count : 0, 0x7fc0);  // NaN in the gaps
    f32.assign(element == Element::f32 ? count : 0, std::nanf(""));
    f64.assign(element == Element::f64 ? count : 0, std::nan(""));
    for (int i = 0; i < values.rows(); ++i) {
      for (int j = 0; j < values.columns(); ++j) {
        const std::size_t at = static_cast<std::size_t>(i) * stride + static_cast<std::size_t>(j);
        switch (element) {
          case Element::bf16:
            bf16[at] = to_bf16(values(i, j));
            break;
          case Element::f32:
            f32[at] = static_cast<float>(values(i, j));
            break;
          case Element::f64:
            f64[at] = values(i, j);
            break;
        }
      }
    }
    switch (element) {
      case Element::bf16:
        rows.values = bf16.data();
        break;
      case Element::f32:
        rows.values = f32.data();
        break;
      case Element::f64:
        rows.values = f64.data();
        break;
    }
  }
  MadeRows(const MadeRows&) = delete;
  MadeRows& operator=(const MadeRows&) = delete;

  [[nodiscard]] long double weight(int i, int j) const {
    const std::size_t at = static_cast<std::size_t>(i) * static_cast<std::size_t>(rows.stride) +
                           static_cast<std::size_t>(j);
    if (!f32.empty()) return f32[at];
    if (!f64.empty()) return f64[at];
    return std::bit_cast<float>(static_cast<std::uint32_t>(bf16[at]) << 16);
  }

  // The folded rows times 2^-exponent, row-major.
  [[nodiscard]] std::vector<long double> folded(int exponent = 0) const {
    std::vector<long double> out;
    for (int i = 0; i < rows.rows; ++i) {
      long double mean = 0;
      for (int j = 0; j < rows.width; ++j) {
        const long double g = gain.empty() ? 1.0 : gain[static_cast<std::size_t>(j)];
        out.push_back(std::ldexp(weight(i, j) * g, -exponent));
        mean += out.back();
      }
      if (!rows.project_mean) continue;
      mean /= rows.width;
      for (int j = 0; j < rows.width; ++j)
        out[out.size() - 1 - static_cast<std::size_t>(j)] -= mean;
    }
    return out;
  }
};

// x y^T with long double sums, x and y rows of `width`.
inline std::vector<long double> long_product(const std::vector<long double>& x,
                                             const std::vector<long double>& y, int width) {
  const std::size_t n = x.size() / static_cast<std::size_t>(width);
  const std::size_t m = y.size() / static_cast<std::size_t>(width);
  std::vector<long double> out(n * m);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < m; ++j) {
      for (std::size_t k = 0; k < static_cast<std::size_t>(width); ++k) {
        out[i * m + j] +=
            x[i * static_cast<std::size_t>(width) + k] * y[j * static_cast<std::size_t>(width) + k];
      }
    }
  }
  return out;
}

}  // namespace ullage::spectrum
