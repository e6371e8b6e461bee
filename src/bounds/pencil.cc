#include "bounds/pencil.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace ullage::bounds {

namespace {

// R with R^T R = gram, which may be singular: shifted by as little as lets it run. A shift is one more
// independent coordinate a row of A, which B does not read: psi can only grow.
Square shifted_factor(const spectrum::Matrix& gram) {
  const double trace = std::max(spectrum::trace(gram), 0.0);
  const Square original(gram);
  for (double shift = std::max(1e-14 * trace, 1e-280);; shift *= 30.0) {
    Square r = original;
    for (int i = 0; i < gram.rows(); ++i) r(i, i) += shift;
    if (factor(r)) {
      for (int i = 0; i < r.extent(); ++i) std::fill_n(r.row(i), i, 0.0);
      return r;
    }
  }
}

// a^T x.
std::vector<double> transposed_multiply(const Square& a, std::span<const double> x) {
  std::vector<double> out(x.size());
  for (std::size_t k = 0; k < x.size(); ++k) {
    const double* row = a.row(static_cast<int>(k));
    for (std::size_t j = 0; j < x.size(); ++j) out[j] += x[k] * row[j];
  }
  return out;
}

// The largest eigenvalue of a positive semidefinite matrix from below, to a few per cent: power iteration.
double largest_estimate(const Square& s) {
  int largest = 0;
  for (int i = 0; i < s.size(); ++i) {
    if (s(i, i) > s(largest, largest)) largest = i;
  }
  std::vector<double> v(s.row(largest), s.row(largest) + s.size());
  double estimate = s(largest, largest);
  for (int step = 0; step < 6; ++step) {
    const double length = spectrum::norm2(v);
    if (!(length > 0.0)) return estimate;
    for (double& value : v) value /= length;
    std::vector<double> next = transposed_multiply(s, v);
    estimate = std::max(estimate, spectrum::dot(v, next));
    v = std::move(next);
  }
  return estimate;
}

}  // namespace

Reduction::Reduction(const spectrum::Matrix& query_gram, const spectrum::Matrix& key_gram,
                     std::span<const double> query_bias, std::span<const double> key_bias)
    : upper(shifted_factor(query_gram)), lower(transposed(upper)) {
  const Square keys(key_gram);
  x = symmetric_product(lower, Shape::lower,
                        transposed_product(keys, Shape::full, lower, Shape::lower));
  sigma = std::sqrt(largest_estimate(x));
  if (spectrum::norm2(query_bias) > 0.0 || spectrum::norm2(key_bias) > 0.0) {
    a.assign(query_bias.begin(), query_bias.end());
    const std::vector<double> keys_a = transposed_multiply(keys, a);
    p = transposed_multiply(lower, key_bias);
    q = transposed_multiply(lower, keys_a);
    key_at_query_bias = std::max(spectrum::dot(a, keys_a), 0.0);
    bias_product = spectrum::dot(a, key_bias);
  }
}

PencilScore::PencilScore(const Reduction& head, const spectrum::Matrix& cross, double radial_mean)
    : sigma_(head.sigma), work_(head.x.size()) {
  const int n = head.x.size();
  // Y = L^-1 C; K^T = Y L.
  Square y(cross);
  solve_transposed(head.upper, y);
  const Square y_transposed = transposed(y);
  const Square k_transposed =
      transposed_product(y_transposed, Shape::full, head.lower, Shape::lower);
  const Square square = symmetric_product(k_transposed, Shape::full, k_transposed);
  linear_ = Square(n);
  quadratic_ = Square(n);
  // tr S = tr C and tr S^2 = (tr C^2 + tr G_A G_B)/2 = (tr C^2 + tr X)/2.
  const Square k = transposed(k_transposed);
  const Square cross_rows(cross);
  const Square cross_columns = transposed(cross_rows);
  double cross_square = 0.0;
  double x_trace = 0.0;
  double x_square = 0.0;
  for (int i = 0; i < n; ++i) {
    const auto columns = static_cast<std::size_t>(n);
    const std::span<const double> x_row(head.x.row(i), columns);
    x_trace += x_row[static_cast<std::size_t>(i)];
    x_square += spectrum::dot(x_row, x_row);
    cross_square += spectrum::dot(std::span<const double>(cross_rows.row(i), columns),
                                  std::span<const double>(cross_columns.row(i), columns));
    for (int j = 0; j < n; ++j) {
      linear_.row(i)[j] = k_transposed.row(i)[j] + k.row(i)[j];
      quadratic_.row(i)[j] = head.x.row(i)[j] - square.row(i)[j];
    }
  }
  slope_ = spectrum::trace(cross);
  curvature_ = std::max(cross_square + x_trace, 0.0);
  if (x_square > 0.0 && curvature_ > 0.0) {
    // tr S / sqrt(rank tr S^2), which is +-1 where all eigenvalues are equal.
    const double rank = x_trace * x_trace / x_square;
    skew_ = std::clamp(slope_ / std::sqrt(0.5 * curvature_ * rank), -1.0, 1.0);
  }
  if (!head.a.empty()) {
    const double m = radial_mean;
    const std::vector<double> ya = transposed_multiply(y_transposed, head.a);
    const std::vector<double> k_ya = transposed_multiply(k_transposed, ya);
    v1_ = head.p;
    v2_ = head.q;
    for (std::size_t i = 0; i < v1_.size(); ++i) {
      v1_[i] = (v1_[i] + ya[i]) / m;
      v2_[i] = (v2_[i] - k_ya[i]) / m;
    }
    rest_ = std::max(head.key_at_query_bias - spectrum::dot(ya, ya), 0.0) / (m * m);
    shift_ = head.bias_product;
    slope_ += shift_;
    curvature_ += spectrum::dot(v1_, v1_) + rest_;
  }
}

// mu is between sigma/2 (left and right singular vectors orthogonal) and sigma (the same).
double PencilScore::likely_limit(double sign) const {
  if (!(sigma_ > 0.0)) return std::numeric_limits<double>::infinity();
  return 1.0 / (sigma_ * (1.0 + std::max(sign * skew_, 0.0)));
}

bool PencilScore::value(double lambda, double& psi) {
  const int n = quadratic_.size();
  const double square = lambda * lambda;
  for (int i = 0; i < n; ++i) {
    double* row = work_.row(i);
    const double* l = linear_.row(i);
    const double* q = quadratic_.row(i);
    for (int j = i; j < n; ++j) row[j] = -lambda * l[j] - square * q[j];
    row[i] += 1.0;
  }
  if (!factor(work_)) return false;
  double log_determinant = 0.0;  // of the factor: half that of W
  double product = 1.0;
  for (int i = 0; i < n; ++i) {
    product *= work_(i, i);
    if (product < 1e-100 || product > 1e100 || i + 1 == n) {
      log_determinant += std::log(product);
      product = 1.0;
    }
  }
  psi = -log_determinant + lambda * shift_;
  if (!v1_.empty()) {
    std::vector<double> z(v1_);
    for (std::size_t i = 0; i < z.size(); ++i) z[i] += lambda * v2_[i];
    solve_transposed(work_, z);
    psi += 0.5 * square * (spectrum::dot(z, z) + rest_);
  }
  return std::isfinite(psi);
}

// A slope only says where to look next, so a difference will do: another Cholesky factor, where the derivative wants most
// of an inverse. Towards zero, where the first value being finite says that this one is.
bool PencilScore::evaluate(double lambda, double& psi, double& slope) {
  constexpr double kStep = 1e-6;
  double nearer = 0.0;
  if (!value(lambda, psi) || !value(lambda * (1.0 - kStep), nearer)) return false;
  slope = (psi - nearer) / (lambda * kStep);
  return std::isfinite(slope);
}

}  // namespace ullage::bounds
