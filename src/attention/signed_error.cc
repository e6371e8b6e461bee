#include "ullage/attention/signed_error.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace ullage::attention {

void Histogram::add(double x) {
  const double bin = std::floor((x + 2) / kWidth);
  ++counts[static_cast<std::size_t>(std::clamp(bin, 0.0, static_cast<double>(kBins - 1)))];
}

void SignedErrorSum::add(std::span<const double> cluster) {
  double sum = 0;
  std::size_t count = 0;
  for (const double x : cluster) {
    if (!std::isfinite(x)) {
      ++not_finite_;
      continue;
    }
    sum += x;
    squares_ += x * x;
    histogram_.add(x);
    ++count;
  }
  if (count == 0) return;
  const double mean = sum / static_cast<double>(count);
  count_ += count;
  ++clusters_;
  sum_ += sum;
  cluster_sum_ += mean;
  cluster_squares_ += mean * mean;
  positive_ += mean > 0 ? 1 : 0;
  negative_ += mean < 0 ? 1 : 0;
}

void SignedErrorSum::merge(const SignedErrorSum& other) {
  count_ += other.count_;
  clusters_ += other.clusters_;
  positive_ += other.positive_;
  negative_ += other.negative_;
  not_finite_ += other.not_finite_;
  sum_ += other.sum_;
  squares_ += other.squares_;
  cluster_sum_ += other.cluster_sum_;
  cluster_squares_ += other.cluster_squares_;
  for (std::size_t bin = 0; bin < Histogram::kBins; ++bin)
    histogram_.counts[bin] += other.histogram_.counts[bin];
}

SignedError SignedErrorSum::result() const {
  SignedError out;
  out.count = count_;
  out.not_finite = not_finite_;
  out.clusters = clusters_;
  out.positive = positive_;
  out.negative = negative_;
  if (count_ == 0) return out;
  const auto n = static_cast<double>(count_);
  out.mean = sum_ / n;
  out.spread = std::sqrt(std::max(0.0, squares_ / n - out.mean * out.mean));
  const auto m = static_cast<double>(clusters_);
  if (clusters_ > 1) {
    const double mean = cluster_sum_ / m;
    const double variance = std::max(0.0, cluster_squares_ / m - mean * mean);
    out.standard_error = std::sqrt(variance / (m - 1));
  }
  const auto signs = static_cast<double>(positive_ + negative_);
  if (signs > 0) {
    const double difference =
        std::fabs(static_cast<double>(positive_) - static_cast<double>(negative_));
    // Continuity correction of one half on each side.
    const double z = std::max(0.0, difference - 1) / std::sqrt(signs);
    out.sign_probability = std::erfc(z / std::numbers::sqrt2);
  }
  return out;
}

}  // namespace ullage::attention
