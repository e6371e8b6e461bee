// Lanczos' recurrence for the largest eigenvalue of a symmetric operator: estimates only, nothing is proved here.
#pragma once

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

// apply(x, y): y = S x on arrays of `size`. Stops when the top Ritz value has moved by less than `tolerance` of
// itself over four steps. No reorthogonalisation: lost orthogonality repeats eigenvalues that have converged and
// leaves the largest where it is (Paige 1980). At most a few times `size` steps.
template <class T, class Apply>
double lanczos_largest(int size, double tolerance, Apply apply) {
  constexpr int kBetweenChecks = 4;
  const auto n = static_cast<std::size_t>(size);
  std::vector<T> before(n);
  std::vector<T> current(n);
  std::vector<T> next(n);
  {
    std::vector<double> start(n);
    fill_start(start);
    const double norm = std::sqrt(lane_dot(start.data(), start.data(), n));
    for (std::size_t i = 0; i < n; ++i) current[i] = static_cast<T>(start[i] / norm);
  }
  std::vector<double> diagonal;
  std::vector<double> off;
  double last = -std::numeric_limits<double>::infinity();
  double scale = 0.0;
  for (int step = 1; step <= 4 * size + 8; ++step) {
    apply(current.data(), next.data());
    const T alpha = lane_dot(current.data(), next.data(), n);
    const T beta_before = off.empty() ? T(0) : static_cast<T>(off.back());
    for (std::size_t i = 0; i < n; ++i) next[i] -= alpha * current[i] + beta_before * before[i];
    const T beta = std::sqrt(lane_dot(next.data(), next.data(), n));
    diagonal.push_back(static_cast<double>(alpha));
    scale = std::max(scale, std::abs(diagonal.back()) + static_cast<double>(beta));
    const bool ended = !(static_cast<double>(beta) >
                         8.0 * static_cast<double>(std::numeric_limits<T>::epsilon()) * scale);
    if (ended || step % kBetweenChecks == 0) {
      const double value = largest_of_tridiagonal(diagonal, off);
      if (ended || !(value - last > tolerance * std::abs(value))) return value;
      last = value;
    }
    off.push_back(static_cast<double>(beta));
    const T inverse = T(1) / beta;
    for (std::size_t i = 0; i < n; ++i) before[i] = next[i] * inverse;
    std::swap(before, current);
  }
  return last;
}

}  // namespace ullage::spectrum
