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

#include "spectrum/symmetric_kernels.h"

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
    // What is left of a vector that is all rounding couples copies of the largest eigenvalue, which then creep upwards.
    constexpr double kRounding = 64.0;
    const bool ended = !(beta > kRounding * epsilon_ * scale_);
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

// apply(x, y): y = S x on arrays of `padded` (a multiple of kSymmetricLanes), of which `size` count and the rest are
// zeros. No reorthogonalisation: lost orthogonality repeats eigenvalues that have converged and leaves the largest
// where it is (Paige 1980).
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
  const SymmetricKernels<T>& kernels = symmetric_kernels<T>();
  T beta_before = T(0);
  const int steps = most_lanczos_steps(size);
  for (int step = 1; step <= steps; ++step) {
    apply(current.data(), next.data());
    const T alpha = kernels.dot(current.data(), next.data(), n);
    kernels.take_away(next.data(), alpha, current.data(), beta_before, before.data(), n);
    const T beta = std::sqrt(kernels.dot(next.data(), next.data(), n));
    if (top.add(static_cast<double>(alpha), static_cast<double>(beta), step == steps)) break;
    const T inverse = T(1) / beta;
    for (std::size_t i = 0; i < n; ++i) before[i] = next[i] * inverse;
    std::swap(before, current);
    beta_before = beta;
  }
  return top.value();
}

// How far a vector of unit A-length may reach, |A|^(1/2) |x|, before rounding, of epsilon |A| |x| in A x, takes its place: in
// FP32 to a part in 10^5, in FP64, where nothing finer is at hand, to all but its first digits.
template <class T>
inline constexpr double kLongest = sizeof(T) == sizeof(float) ? 64.0 : 1e7;

// What lanczos_products finds.
struct ProductSquares {
  std::vector<double> values;
  bool resolved =
      true;  // false: a recurrence ended at a vector beyond kLongest, and its value may be too small
};

// Largest eigenvalues of B_i A for positive semidefinite operators, `count` of them side by side, which are
// |A^(1/2) B_i^(1/2)|^2: Lanczos' recurrence in the inner product x^T A y, where B A is symmetric, so that neither is
// factored. apply_a(x, y) and apply_b(x, y) take and give `count` vectors, `padded` apart. At most `steps` steps.
template <class T, class ApplyA, class ApplyB>
ProductSquares lanczos_products(int count, int size, int padded, double tolerance, int steps,
                                ApplyA apply_a, ApplyB apply_b) {
  const auto n = static_cast<std::size_t>(padded);
  const auto vectors = static_cast<std::size_t>(count);
  std::vector<T> before(n * vectors), current(n * vectors), next(n * vectors);
  std::vector<T> image(n * vectors), next_image(n * vectors);  // A current, A next
  std::vector<double> start(static_cast<std::size_t>(size));
  fill_start(start);
  for (std::size_t b = 0; b < vectors; ++b) {
    for (std::size_t i = 0; i < start.size(); ++i) current[b * n + i] = static_cast<T>(start[i]);
  }
  apply_a(current.data(), image.data());
  const SymmetricKernels<T>& kernels = symmetric_kernels<T>();
  const auto length_of = [&](const T* x, const T* a_x) {
    return std::sqrt(std::max(kernels.dot(x, a_x, n), T(0)));
  };
  // Where A is close to singular, what is left of a vector may lie in its null space but for rounding.
  ProductSquares out;
  double largest = 0.0;  // of |A x|^2 / x^T A x, so about |A|
  const auto lost = [&](const T* x, const T* a_x, T length) {
    if (!(length > T(0))) return false;
    const double square = static_cast<double>(length) * static_cast<double>(length);
    largest = std::max(largest, static_cast<double>(kernels.dot(a_x, a_x, n)) / square);
    const bool beyond =
        largest * static_cast<double>(kernels.dot(x, x, n)) > kLongest<T> * kLongest<T> * square;
    if (beyond) out.resolved = false;
    return beyond;
  };
  std::vector<T> beta_before(vectors);
  std::vector<bool> ended(vectors);
  for (std::size_t b = 0; b < vectors; ++b) {
    const T length = length_of(&current[b * n], &image[b * n]);
    ended[b] = !(length > T(0)) || lost(&current[b * n], &image[b * n], length);
    for (std::size_t i = b * n; i < b * n + n && !ended[b]; ++i) {
      current[i] /= length;
      image[i] /= length;
    }
  }
  std::vector<TopRitzValue> top(
      vectors, TopRitzValue(tolerance, static_cast<double>(std::numeric_limits<T>::epsilon())));
  for (int step = 1; step <= steps; ++step) {
    if (std::all_of(ended.begin(), ended.end(), [](bool end) { return end; })) break;
    apply_b(image.data(), next.data());
    std::vector<T> alpha(vectors);
    for (std::size_t b = 0; b < vectors; ++b) {
      alpha[b] = kernels.dot(&image[b * n], &next[b * n], n);
      kernels.take_away(&next[b * n], alpha[b], &current[b * n], beta_before[b], &before[b * n], n);
    }
    apply_a(next.data(), next_image.data());
    for (std::size_t b = 0; b < vectors; ++b) {
      if (ended[b]) continue;
      const T beta = length_of(&next[b * n], &next_image[b * n]);
      const bool last = step == steps || lost(&next[b * n], &next_image[b * n], beta);
      ended[b] = top[b].add(static_cast<double>(alpha[b]), static_cast<double>(beta), last);
      if (ended[b]) continue;
      const T inverse = T(1) / beta;
      for (std::size_t i = b * n; i < b * n + n; ++i) {
        before[i] = next[i] * inverse;
        image[i] = next_image[i] * inverse;
      }
      std::swap_ranges(before.begin() + static_cast<std::ptrdiff_t>(b * n),
                       before.begin() + static_cast<std::ptrdiff_t>(b * n + n),
                       current.begin() + static_cast<std::ptrdiff_t>(b * n));
      beta_before[b] = beta;
    }
  }
  for (const TopRitzValue& value : top) out.values.push_back(std::max(value.value(), 0.0));
  return out;
}

}  // namespace ullage::spectrum
