// Lanczos' recurrence for the largest eigenvalue of a symmetric operator: estimates only, nothing is proved here.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace ullage::spectrum {

// A fixed direction with no structure of its own: no exact zeros, signs and sizes mixed (SplitMix64).
void fill_start(std::span<double> x, std::uint64_t seed = 1);

// Largest eigenvalue of a tridiagonal matrix, to rounding.
double largest_of_tridiagonal(std::span<const double> diagonal,
                              std::span<const double> off_diagonal);

// Sixteen partial sums: a dot product that vectorises without reordering, alike on every CPU.
template <class T>
T lane_dot(const T* x, const T* y, std::size_t n) {
  constexpr std::size_t kLanes = 16;
  T lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::size_t k = 0; k < kLanes; ++k) lanes[k] += x[i + k] * y[i + k];
  }
  for (std::size_t k = 0; i + k < n; ++k) lanes[k] += x[i + k] * y[i + k];
  for (std::size_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::size_t k = 0; k < half; ++k) lanes[k] += lanes[k + half];
  }
  return lanes[0];
}

// The top Ritz value of a growing tridiagonal matrix, and when to stop: once it has moved by less than `tolerance` of
// itself over four steps, or the recurrence has found an invariant subspace.
class TopRitzValue {
 public:
  // `epsilon` of the arithmetic that the recurrence runs in.
  TopRitzValue(double tolerance, double epsilon) : tolerance_(tolerance), epsilon_(epsilon) {}

  // Takes a step's diagonal entry and what is left of its vector; true when that was the last one.
  bool add(double alpha, double beta, bool last = false) {
    constexpr std::size_t kBetweenChecks = 4;
    diagonal_.push_back(alpha);
    scale_ = std::max(scale_, std::abs(alpha) + beta);
    const bool ended = !(beta > 8.0 * epsilon_ * scale_);
    if (ended || last || diagonal_.size() % kBetweenChecks == 0) {
      const double value = largest_of_tridiagonal(diagonal_, off_);
      const bool settled = !(value - value_ > tolerance_ * std::abs(value));
      value_ = value;
      if (ended || last || settled) return true;
    }
    off_.push_back(beta);
    return false;
  }
  [[nodiscard]] double value() const { return value_; }

 private:
  double tolerance_;
  double epsilon_;
  double scale_ = 0.0;
  double value_ = -std::numeric_limits<double>::infinity();
  std::vector<double> diagonal_;
  std::vector<double> off_;
};

// A recurrence runs at most this many steps.
inline constexpr int most_lanczos_steps(int size) { return 4 * size + 8; }

// apply(x, y): y = S x on arrays of `padded`, of which `size` count and the rest are zeros. No reorthogonalisation: lost
// orthogonality repeats eigenvalues that have converged and leaves the largest where it is (Paige 1980).
template <class T, class Apply>
double lanczos_largest(int size, int padded, double tolerance, Apply apply) {
  const auto n = static_cast<std::size_t>(padded);
  std::vector<T> before(n);
  std::vector<T> current(n);
  std::vector<T> next(n);
  {
    std::vector<double> start(static_cast<std::size_t>(size));
    fill_start(start);
    const double norm = std::sqrt(lane_dot(start.data(), start.data(), start.size()));
    for (std::size_t i = 0; i < start.size(); ++i) current[i] = static_cast<T>(start[i] / norm);
  }
  TopRitzValue top(tolerance, static_cast<double>(std::numeric_limits<T>::epsilon()));
  T beta_before = T(0);
  const int steps = most_lanczos_steps(size);
  for (int step = 1; step <= steps; ++step) {
    apply(current.data(), next.data());
    const T alpha = lane_dot(current.data(), next.data(), n);
    for (std::size_t i = 0; i < n; ++i) next[i] -= alpha * current[i] + beta_before * before[i];
    const T beta = std::sqrt(lane_dot(next.data(), next.data(), n));
    if (top.add(static_cast<double>(alpha), static_cast<double>(beta), step == steps)) break;
    const T inverse = T(1) / beta;
    for (std::size_t i = 0; i < n; ++i) before[i] = next[i] * inverse;
    std::swap(before, current);
    beta_before = beta;
  }
  return top.value();
}

// Largest eigenvalue of B A for two positive semidefinite operators, which is |A^(1/2) B^(1/2)|^2: Lanczos' recurrence in
// the inner product x^T A y, where B A is symmetric, so that neither is factored. At most `steps` steps.
template <class T, class ApplyA, class ApplyB>
double lanczos_product(int size, int padded, double tolerance, int steps, ApplyA apply_a,
                       ApplyB apply_b) {
  const auto n = static_cast<std::size_t>(padded);
  std::vector<T> before(n);
  std::vector<T> current(n);
  std::vector<T> image(n);  // A current
  std::vector<T> next(n);
  std::vector<T> next_image(n);
  {
    std::vector<double> start(static_cast<std::size_t>(size));
    fill_start(start);
    std::transform(start.begin(), start.end(), current.begin(),
                   [](double value) { return static_cast<T>(value); });
  }
  apply_a(current.data(), image.data());
  const T length = std::sqrt(std::max(lane_dot(current.data(), image.data(), n), T(0)));
  if (!(length > T(0))) return 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    current[i] /= length;
    image[i] /= length;
  }
  TopRitzValue top(tolerance, static_cast<double>(std::numeric_limits<T>::epsilon()));
  T beta_before = T(0);
  for (int step = 1; step <= steps; ++step) {
    apply_b(image.data(), next.data());
    const T alpha = lane_dot(image.data(), next.data(), n);
    for (std::size_t i = 0; i < n; ++i) next[i] -= alpha * current[i] + beta_before * before[i];
    apply_a(next.data(), next_image.data());
    const T beta = std::sqrt(std::max(lane_dot(next.data(), next_image.data(), n), T(0)));
    if (top.add(static_cast<double>(alpha), static_cast<double>(beta), step == steps)) break;
    const T inverse = T(1) / beta;
    for (std::size_t i = 0; i < n; ++i) {
      before[i] = next[i] * inverse;
      image[i] = next_image[i] * inverse;
    }
    std::swap(before, current);
    beta_before = beta;
  }
  return std::max(top.value(), 0.0);
}

}  // namespace ullage::spectrum
