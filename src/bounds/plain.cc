#include "bounds/plain.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "bounds/log_product.h"

namespace ullage::bounds {

PlainScore::PlainScore(const Square& x, double sigma, std::vector<double> p, std::vector<double> q,
                       double key_at_query_bias_squared, double bias_product)
    : p_(std::move(p)),
      q_(std::move(q)),
      constant_(key_at_query_bias_squared),
      shift_(bias_product),
      limit_(sigma > 0.0 ? 1.0 / sigma : std::numeric_limits<double>::infinity()) {
  slope_ = shift_;
  for (int i = 0; i < x.size(); ++i) curvature_ += x(i, i);
  if (!p_.empty()) {
    for (const double value : p_) curvature_ += value * value;
    curvature_ += constant_;
  }
  std::vector<std::vector<double>*> vectors;
  if (!p_.empty()) vectors = {&p_, &q_};
  form_ = tridiagonalise(x, vectors);
}

// The recurrences of I - y T = L D L^T, y = l^2, and their derivatives in y (marked _dy).
bool PlainScore::evaluate(double lambda, double& psi, double& slope) {
  const double y = lambda * lambda;
  LogProduct determinant;
  double log_dy = 0.0;  // d log det / dy
  double pp = 0.0;
  double qq = 0.0;
  double pq = 0.0;
  double pp_dy = 0.0;
  double qq_dy = 0.0;
  double pq_dy = 0.0;
  double pivot = 1.0;
  double pivot_dy = 0.0;
  double z = 0.0;  // forward substitution of p, and of q in x
  double z_dy = 0.0;
  double x = 0.0;
  double x_dy = 0.0;
  for (std::size_t i = 0; i < form_.diagonal.size(); ++i) {
    const double e = i > 0 ? form_.off_diagonal[i - 1] : 0.0;
    const double e_over = e / pivot;
    const double ratio = y * e_over;  // -L_(i,i-1)
    const double ratio_dy = e_over - ratio * pivot_dy / pivot;
    const double next = 1.0 - y * form_.diagonal[i] - ratio * y * e;
    const double next_dy = -form_.diagonal[i] - ratio * e - y * e * ratio_dy;
    if (!(next > kLeastPivot)) return false;
    pivot = next;
    pivot_dy = next_dy;
    const double inverse = 1.0 / pivot;
    determinant.multiply(pivot);
    const double log_pivot_dy = pivot_dy * inverse;
    log_dy += log_pivot_dy;
    if (p_.empty()) continue;
    z_dy = ratio_dy * z + ratio * z_dy;
    z = p_[i] + ratio * z;
    x_dy = ratio_dy * x + ratio * x_dy;
    x = q_[i] + ratio * x;
    pp += z * z * inverse;
    qq += x * x * inverse;
    pq += z * x * inverse;
    pp_dy += (2.0 * z * z_dy - z * z * log_pivot_dy) * inverse;
    qq_dy += (2.0 * x * x_dy - x * x * log_pivot_dy) * inverse;
    pq_dy += (z * x_dy + z_dy * x - z * x * log_pivot_dy) * inverse;
  }
  const double bracket = pp + constant_ + y * qq + 2.0 * lambda * pq;
  const double bracket_slope = 2.0 * lambda * (pp_dy + qq + y * qq_dy) + 2.0 * pq + 4.0 * y * pq_dy;
  psi = -0.5 * determinant.value() + 0.5 * y * bracket + lambda * shift_;
  slope = -lambda * log_dy + lambda * bracket + 0.5 * y * bracket_slope + shift_;
  return std::isfinite(psi) && std::isfinite(slope);
}

}  // namespace ullage::bounds
