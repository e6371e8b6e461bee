#include "spectrum/scaled_side.h"

#include <algorithm>
#include <cmath>

#include "spectrum/lanczos.h"
#include "spectrum/symmetric_kernels.h"

namespace ullage::spectrum {

void ScaledSide::set(std::span<const double> d, double t) {
  const auto padded = static_cast<std::size_t>(gram_.padded());
  d_.assign(padded, 0.0F);
  std::transform(d.begin(), d.end(), d_.begin(),
                 [](double value) { return static_cast<float>(value); });
  scaled_.resize(padded * kSymmetricBlock);
  column_.clear();
  if (!(t > 0.0)) return;
  column_.assign(padded, 0.0F);
  const double unit = std::ldexp(1.0 / t, -gram_.half_exponent());
  for (std::size_t i = 0; i < d.size(); ++i) {
    column_[i] = static_cast<float>(side_->bias[i] * d[i] * unit);
  }
}

double ScaledSide::scale() const { return std::ldexp(1.0, 2 * gram_.half_exponent()); }

// y = D y + (D a / t) ((D a / t) . x)
void ScaledSide::add_column(const float* x, float* y) const {
  const std::size_t n = d_.size();
  for (std::size_t i = 0; i < n; ++i) y[i] *= d_[i];
  if (column_.empty()) return;
  const float along = lane_dot(column_.data(), x, n);
  for (std::size_t i = 0; i < n; ++i) y[i] += along * column_[i];
}

void ScaledSide::multiply(const float* x, float* y) {
  for (std::size_t i = 0; i < d_.size(); ++i) scaled_[i] = d_[i] * x[i];
  gram_.multiply(scaled_.data(), y);
  add_column(x, y);
}

void ScaledSide::multiply_block(const float* x, float* y) {
  const std::size_t n = d_.size();
  for (std::size_t b = 0; b < kSymmetricBlock; ++b) {
    for (std::size_t i = 0; i < n; ++i) scaled_[b * n + i] = d_[i] * x[b * n + i];
  }
  gram_.multiply_block(scaled_.data(), y);
  for (std::size_t b = 0; b < kSymmetricBlock; ++b) add_column(x + b * n, y + b * n);
}

double ScaledSide::norm() {
  const double square = lanczos_largest<float>(gram_.size(), gram_.padded(), kSingleTolerance,
                                               [&](const float* x, float* y) { multiply(x, y); });
  return std::sqrt(std::max(square, 0.0) * scale());
}

}  // namespace ullage::spectrum
