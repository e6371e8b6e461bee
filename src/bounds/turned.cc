#include "bounds/turned.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "bounds/log_product.h"

namespace ullage::bounds {

TurnedScore::TurnedScore(std::vector<double> query_values, const std::vector<double>& key_values,
                         double bias_squares, double bias_product)
    : squares_(std::move(query_values)), bias_squares_(bias_squares), shift_(bias_product) {
  double largest = 0.0;
  for (std::size_t k = 0; k < squares_.size(); ++k) {
    squares_[k] = std::max(squares_[k], 0.0) * std::max(key_values[k], 0.0);
    largest = std::max(largest, squares_[k]);
  }
  largest_ = std::sqrt(largest);
  // What is too small to matter would only cost time.
  std::erase_if(squares_, [&](double square) { return square <= 1e-20 * largest; });
  slope_ = shift_;
  curvature_ = bias_squares_;
  for (const double square : squares_) curvature_ += square;
}

double TurnedScore::likely_limit(double /*sign*/) const {
  return largest_ > 0.0 ? 1.0 / largest_ : std::numeric_limits<double>::infinity();
}

bool TurnedScore::evaluate(double l, double& psi, double& slope) {
  const double y = l * l;
  LogProduct determinant;
  double sum = 0.0;
  for (const double square : squares_) {
    const double factor = 1.0 - y * square;
    if (!(factor > kLeastPivot)) return false;
    determinant.multiply(factor);
    sum += square / factor;
  }
  const double gap = 1.0 - l * largest_;
  if (!(gap > 0.0)) return false;
  psi = -0.5 * determinant.value() + 0.5 * y * bias_squares_ / gap + l * shift_;
  slope =
      l * sum + l * bias_squares_ / gap + 0.5 * y * bias_squares_ * largest_ / (gap * gap) + shift_;
  return std::isfinite(psi) && std::isfinite(slope);
}

}  // namespace ullage::bounds
