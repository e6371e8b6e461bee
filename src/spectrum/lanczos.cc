#include "spectrum/lanczos.h"

#include <algorithm>

namespace ullage::spectrum {

void fill_start(std::span<double> x, std::uint64_t seed) {
  std::uint64_t state = seed * 0x9e3779b97f4a7c15ULL;
  for (double& value : x) {
    state += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    z ^= z >> 31;
    value = 0x1p-53 * static_cast<double>((z >> 11) | 1) - 0.5;
  }
}

// Laguerre's iteration from above: on a polynomial with real roots it falls monotonically to the largest, with cubic
// convergence to a simple one. To one of many copies, as a recurrence that went on after its end leaves them, it takes
// steps of about 2 / sqrt(n) of the way. det(x - T) is the product of the pivots p_k = x - a_k - b_(k-1)^2 / p_(k-1), all
// positive above it.
double largest_of_tridiagonal(std::span<const double> diagonal,
                              std::span<const double> off_diagonal) {
  const std::size_t n = diagonal.size();
  double x = -std::numeric_limits<double>::infinity();
  for (std::size_t k = 0; k < n; ++k) {
    const double left = k > 0 ? std::abs(off_diagonal[k - 1]) : 0.0;
    const double right = k + 1 < n ? std::abs(off_diagonal[k]) : 0.0;
    x = std::max(x, diagonal[k] + left + right);
  }
  const auto degree = static_cast<double>(n);
  constexpr int kMostIterations = 1000;
  for (int iteration = 0; iteration < kMostIterations; ++iteration) {
    double pivot = x - diagonal[0];
    double first = 1.0;  // derivatives of the pivot
    double second = 0.0;
    double sum = 0.0;      // sum of 1 / (x - root)
    double squares = 0.0;  // sum of 1 / (x - root)^2
    for (std::size_t k = 0;; ++k) {
      if (!(pivot > 0.0)) return x;  // rounding: x is at the root
      const double inverse = 1.0 / pivot;
      const double slope = first * inverse;
      sum += slope;
      squares += slope * slope - second * inverse;
      if (k + 1 == n) break;
      const double ratio = off_diagonal[k] * inverse;
      const double square = ratio * ratio;
      const double next_second = square * (second - 2.0 * first * slope);
      first = 1.0 + square * first;
      second = next_second;
      pivot = x - diagonal[k + 1] - ratio * off_diagonal[k];
    }
    const double spread = (degree - 1.0) * (degree * squares - sum * sum);
    const double step = degree / (sum + std::sqrt(std::max(spread, 0.0)));
    x -= step;
    if (!(step > 1e-14 * std::abs(x))) break;
  }
  return x;
}

}  // namespace ullage::spectrum
