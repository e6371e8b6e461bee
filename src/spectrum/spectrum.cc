#include "ullage/spectrum/spectrum.h"

#include <algorithm>
#include <cmath>

#include "spectrum/lanczos.h"
#include "spectrum/product_form.h"
#include "spectrum/single.h"
#include "spectrum/symmetric_kernels.h"
#include "ullage/spectrum/error_terms.h"
#include "ullage/spectrum/tridiagonal.h"

namespace ullage::spectrum {

namespace {

// Roots of a positive semidefinite matrix's eigenvalues, those that rounding made negative taken as zero.
double root(double eigenvalue) { return std::sqrt(std::max(eigenvalue, 0.0)); }

// A Gram in units of a power of two near its trace's root.
struct Unit {
  Square g;
  int exponent = 0;  // true A = 2^exponent A
};

Unit in_units(const Matrix& g) {
  Unit out{Square(g), 0};
  const double size = trace(g);
  if (!(size > 0.0) || !std::isfinite(size)) return out;
  out.exponent = std::ilogb(size) / 2;
  const double half = std::ldexp(1.0, -out.exponent);
  for (int i = 0; i < g.rows(); ++i) {
    double* row = out.g.row(i);
    for (int j = 0; j < g.rows(); ++j) row[j] = row[j] * half * half;
  }
  return out;
}

// Its eigenvectors scaled, eigenvalues clipped at zero: for what has no Cholesky factor.
Square clipped_factor(const Square& g) {
  Matrix m(g.size(), g.size());
  for (int i = 0; i < g.size(); ++i) std::copy_n(g.row(i), g.size(), m.row(i).data());
  return Square(semidefinite_factor(m));
}

// L^T G_B L and the exponent of its eigenvalues' roots.
struct Form {
  Square x;
  int exponent = 0;
};

Form form_of(const Matrix& g_a, const Matrix& g_b) {
  assert(g_a.rows() == g_b.rows());
  const Unit a = in_units(g_a);
  const Unit b = in_units(g_b);
  Form out{{}, a.exponent + b.exponent};
  Square lower;
  double shift = 0.0;
  if (shifted_factor(a.g, shift, lower)) {
    out.x = product_form(lower, b.g);
  } else {
    const Square factor = clipped_factor(a.g);
    out.x = symmetric_product(factor, Shape::full,
                              transposed_product(b.g, Shape::full, factor, Shape::full));
  }
  return out;
}

}  // namespace

std::vector<double> singular_values_of_product(const Matrix& g_a, const Matrix& g_b) {
  // Squares to 2^-48 of the largest: the roots of zeros come out below 6e-8 of it.
  constexpr double kTolerance = 0x1p-48;
  const Form form = form_of(g_a, g_b);
  std::vector<double> values = eigenvalues(tridiagonalise(form.x), kTolerance);
  std::reverse(values.begin(), values.end());
  for (double& value : values) value = std::ldexp(root(value), form.exponent);
  return values;
}

double sigma_of_product(const Matrix& g_a, const Matrix& g_b) {
  assert(g_a.rows() == g_b.rows());
  if (g_a.rows() > kSingleFrom) {
    const SingleSymmetric a(g_a), b(g_b);
    const ProductSquares found = lanczos_products<float>(
        1, a.size(), a.padded(), kSingleTolerance, most_lanczos_steps(a.size()),
        [&](const float* x, float* y) { a.multiply(x, y); },
        [&](const float* x, float* y) { b.multiply(x, y); });
    const double square = found.values[0];
    // FP32 is off by a few units of |A|^2 |B|^2: enough where the product does not cancel.
    constexpr double kKept = 0.05;
    if (found.resolved && square > kKept * a.row_sum() * b.row_sum())
      return std::ldexp(std::sqrt(square), a.half_exponent() + b.half_exponent());
  }
  constexpr double kTolerance = 1e-8;  // of the square
  const Unit a = in_units(g_a);
  const Unit b = in_units(g_b);
  const auto product_with = [](const Square& g) {
    return [&g](const double* x, double* y) {
      symmetric_kernels<double>().multiply(g.row(0), g.stride(), g.size(), x, y);
    };
  };
  const double square =
      lanczos_products<double>(1, a.g.size(), a.g.extent(), kTolerance,
                               most_lanczos_steps(a.g.size()), product_with(a.g), product_with(b.g))
          .values[0];
  return std::ldexp(std::sqrt(square), a.exponent + b.exponent);
}

double norm_of(const Matrix& g) { return root(largest_estimate(g)); }

bool needs_precise(const Bounded& sigma, const Bounded& a, const Bounded& b) {
  return too_coarse(sigma.estimate, sigma.bound, a.estimate, b.estimate);
}

}  // namespace ullage::spectrum
