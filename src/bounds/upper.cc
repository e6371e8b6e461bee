#include "bounds/upper.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "ullage/spectrum/certificate.h"

namespace ullage::bounds {

namespace {

constexpr double kUnit = 0x1p-53;

}  // namespace

double upper_norm(std::span<const double> x) {
  // n squares and sums, a root and two scalings: relative (n / 2 + 4) u.
  return spectrum::norm2(x) * (1.0 + (static_cast<double>(x.size()) + 8.0) * kUnit);
}

double upper_product(std::span<const double> x, std::span<const double> y) {
  double magnitude = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) magnitude += std::abs(x[i] * y[i]);
  const double rounding = (static_cast<double>(x.size()) + 2.0) * kUnit;
  return std::abs(spectrum::dot(x, y)) + 2.0 * rounding * magnitude;
}

double upper_image(const Side& side, std::span<const double> x) {
  const double n = side.gram.rows();
  const std::vector<double> gx = spectrum::multiply(side.gram, x);
  // |x|^T |G| |x| <= trace(G) |x|^2 bounds the magnitudes that the quadratic form sums.
  const double slack = side.inflation + 8.0 * (n + 2.0) * kUnit * spectrum::trace(side.gram);
  const double length = upper_norm(x);
  return std::sqrt(std::max(spectrum::dot(x, gx), 0.0) + slack * length * length) *
         (1.0 + 4.0 * kUnit);
}

double upper_pair_norm(const Side& side, int i, int j) {
  const double gii = side.gram(i, i);
  if (i == j) return std::sqrt(gii + side.inflation) * (1.0 + 4.0 * kUnit);
  const double gjj = side.gram(j, j);
  const double top = 0.5 * (gii + gjj) + std::hypot(0.5 * (gii - gjj), side.gram(i, j));
  return std::sqrt(std::max(top, 0.0) + side.inflation) * (1.0 + 16.0 * kUnit);
}

double upper_scaled_norm(const Side& side, std::span<const double> scaling, bool inverse) {
  std::vector<double> d(scaling.begin(), scaling.end());
  if (inverse) {
    for (double& value : d) value = 1.0 / value;
  }
  return spectrum::certified_norm(spectrum::scaled_symmetric(inflated(side), d));
}

Status check_side(const Side& side, const char* name) {
  const int n = side.gram.rows();
  if (n == 0 || side.gram.columns() != n) {
    return Error{Code::value_invalid, "the Gram matrix is not square", name, "a square matrix",
                 std::to_string(side.gram.rows()) + " x " + std::to_string(side.gram.columns())};
  }
  if (!side.bias.empty() && static_cast<int>(side.bias.size()) != n) {
    return Error{Code::value_invalid, "the bias has another length than the Gram", name,
                 std::to_string(n), std::to_string(side.bias.size())};
  }
  bool finite = std::isfinite(side.inflation) && std::isfinite(side.bias_error) &&
                std::isfinite(spectrum::largest_magnitude(side.gram));
  for (const double value : side.bias) finite = finite && std::isfinite(value);
  if (!finite) return Error{Code::not_finite, "NaN or infinity in a projection", name, {}, {}};
  return {};
}

}  // namespace ullage::bounds
