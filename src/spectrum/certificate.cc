#include "ullage/spectrum/certificate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "spectrum/entries.h"
#include "spectrum/product_form.h"
#include "spectrum/single.h"
#include "ullage/spectrum/error_terms.h"
#include "ullage/spectrum/panels.h"

namespace ullage::spectrum {

namespace {

// g times 4^-half_exponent, exact but for what vanishes far below its trace, which lands in [1, 4).
struct Scaled {
  Square g;
  double trace = 0.0;
  int half_exponent = 0;
};

enum class Kind { ordinary, zero, infinite, nan };

Kind scale(const Matrix& g, Scaled& out) {
  assert(g.rows() == g.columns());
  const double largest = largest_magnitude(g);
  if (std::isnan(largest)) return Kind::nan;
  if (std::isinf(largest)) return Kind::infinite;
  if (largest == 0.0) return Kind::zero;
  // The trace may overflow where no entry does: first entries near 1, then the trace.
  const int first = std::ilogb(largest);
  double sum = 0.0;
  for (int i = 0; i < g.rows(); ++i) sum += std::ldexp(std::abs(g(i, i)), -first);
  sum = std::max(sum, 1.0);  // a semidefinite matrix has its largest entry on the diagonal
  const int exponent = first + std::ilogb(sum);
  out.half_exponent = static_cast<int>(std::floor(exponent / 2.0));
  out.g = Square(g.rows(), kUnwritten);
  const double half = std::ldexp(1.0, -out.half_exponent);
  const std::vector<double> halves(static_cast<std::size_t>(g.columns()), half);
  const auto scale_row = entry_kernels().scale;
  for (int i = 0; i < g.rows(); ++i) {
    scale_row(g.row(i).data(), half, halves.data(), out.g.row(i), halves.size());
  }
  out.trace = std::ldexp(sum, first - 2 * out.half_exponent) * trace_rounding(g.rows());
  return Kind::ordinary;
}

// x 2^exponent, never below it.
double raise(double x, int exponent) {
  const double out = std::ldexp(x, exponent);
  return x > 0.0 && out < 0x1p-1000 ? std::nextafter(out, std::numeric_limits<double>::infinity())
                                    : out;
}

// Whether tau I - x has a Cholesky factor.
bool below(const Square& x, double tau) {
  const int n = x.size();
  Square work(n, kUnwritten);
  const auto negate = entry_kernels().scale;
  for (int i = 0; i < n; ++i) {
    const double* from = x.row(i);
    double* to = work.row(i);
    const int first = i / 16 * 16;  // factor reads the upper triangle
    negate(from + first, -1.0, nullptr, to + first, static_cast<std::size_t>(n - first));
    to[i] = tau - from[i];
  }
  return factor(work);
}

// A tau with largest eigenvalue of x <= tau (1 + 2 (n + 1) n u), starting from an estimate; at most
// `certain`, which is known to bound it. `slack` is what x itself may be off by.
double proved_above(const Square& x, double estimate, double slack, double certain) {
  for (double margin = kFirstMargin; margin < 1.0; margin *= kWiden) {
    const double tau = tau_at(estimate, slack, margin);
    if (!(tau < certain)) return certain;
    if (below(x, tau)) return tau;
  }
  return certain;
}

Bounded special(Kind kind) {
  if (kind == Kind::zero) return {0.0, 0.0};
  const double value = kind == Kind::nan ? std::numeric_limits<double>::quiet_NaN()
                                         : std::numeric_limits<double>::infinity();
  return {value, value};
}

}  // namespace

Bounded bounded_norm(const Matrix& g_a, double known_estimate) {
  if (g_a.rows() == 0) return {};
  Scaled a;
  if (const Kind kind = scale(g_a, a); kind != Kind::ordinary) return special(kind);
  const int n = a.g.size();
  const double known = std::ldexp(known_estimate, -a.half_exponent);
  const double estimate =
      known > 0.0 && std::isfinite(known) ? known * known : largest_estimate(a.g);
  const double input = kGivenUnit * a.trace;
  const double tau = proved_above(a.g, estimate, input, a.trace);
  const double square = tau + input + proof_slack(n, tau);
  return {std::ldexp(std::sqrt(std::max(estimate, 0.0)), a.half_exponent),
          raise(round_up(std::sqrt(square)), a.half_exponent)};
}

Bounded bounded_sigma(const Matrix& g_a, const Matrix& g_b) {
  assert(g_a.rows() == g_b.rows());
  if (g_a.rows() == 0) return {};
  Scaled a;
  Scaled b;
  const Kind kind_a = scale(g_a, a);
  const Kind kind_b = scale(g_b, b);
  if (kind_a == Kind::nan || kind_b == Kind::nan) return special(Kind::nan);
  if (kind_a == Kind::zero || kind_b == Kind::zero) return special(Kind::zero);
  if (kind_a == Kind::infinite || kind_b == Kind::infinite) return special(Kind::infinite);

  const int n = a.g.size();
  // The shift covers the backward error of the factor, (n + 3) u trace, and what g may be below the
  // true Gram; so L L^T and g_b + shift I lie above A A^T and B B^T.
  double shift_a = factor_shift(n, a.trace);
  const double shift_b = factor_shift(n, b.trace);
  const double certain = certain_square(n, a.trace, b.trace);
  double estimate = 0.0;
  double square = certain;
  Square lower;
  if (shifted_factor(a.g, shift_a, lower)) {
    for (int i = 0; i < n; ++i) b.g(i, i) += shift_b;
    const Square x = product_form(lower, b.g);
    estimate = std::max(largest_estimate(x), 0.0);
    const double product = product_slack(n, a.trace + n * shift_a, b.trace + n * shift_b);
    const double tau = proved_above(x, estimate, product, certain);
    square = std::min(certain, tau + product + proof_slack(n, tau));
  }
  const int exponent = a.half_exponent + b.half_exponent;
  return {std::ldexp(std::sqrt(estimate), exponent), raise(round_up(std::sqrt(square)), exponent)};
}

Bounded bounded_norm(const Gram& gram) {
  Bounded out = bounded_norm(gram.values);
  // hypot neither overflows nor vanishes; it is within an ulp.
  out.bound = round_up(std::hypot(out.bound, round_up(std::sqrt(gram.inflation))));
  out.estimate = std::ldexp(out.estimate, gram.exponent);
  out.bound = raise(out.bound, gram.exponent);
  return out;
}

Bounded bounded_sigma(const Gram& gram_a, const Bounded& a, const Gram& gram_b, const Bounded& b) {
  Bounded out = bounded_sigma(gram_a.values, gram_b.values);
  const int exponent = gram_a.exponent + gram_b.exponent;
  out.estimate = std::ldexp(out.estimate, exponent);
  out.bound = raise(out.bound, exponent);
  // G_A <= G^_A + h_a I gives |A^T B|^2 <= |F^T B|^2 + h_a |B|^2 with F F^T = G^_A, and the same step for B leaves
  // h_b |F|^2, kShiftShare for the shift that F holds besides.
  const double root_a = raise(round_up(std::sqrt(gram_a.inflation)), gram_a.exponent);
  const double root_b = raise(round_up(std::sqrt(gram_b.inflation)), gram_b.exponent);
  out.bound =
      round_up(std::hypot(out.bound, kShiftShare * std::hypot(root_a * b.bound, root_b * a.bound)));
  out.bound = std::min(out.bound, round_up(a.bound * b.bound));
  return out;
}

Matrix with_column(const Matrix& g, std::span<const double> a, double t) {
  assert(static_cast<int>(a.size()) == g.rows());
  Matrix out = g;
  for (int i = 0; i < g.rows(); ++i) {
    const double left = a[static_cast<std::size_t>(i)] / t;
    for (int j = 0; j < g.columns(); ++j) out(i, j) += left * (a[static_cast<std::size_t>(j)] / t);
  }
  return out;
}

double round_up(double x) {
  if (x == 0.0) return 0.0;
  return std::nextafter(x * (1.0 + 64.0 * kU64), std::numeric_limits<double>::infinity());
}

}  // namespace ullage::spectrum
