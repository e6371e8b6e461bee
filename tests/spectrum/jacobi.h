// Singular values in long double by one-sided Jacobi rotations: the reference that certificates are held against.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace ullage::spectrum {

// Descending; a is rows x columns, row-major. Relative accuracy near 2^-60 of the largest.
inline std::vector<long double> jacobi_singular_values(std::vector<long double> a, std::size_t rows,
                                                       std::size_t columns) {
  for (int sweep = 0; sweep < 60; ++sweep) {
    bool rotated = false;
    for (std::size_t p = 0; p + 1 < columns; ++p) {
      for (std::size_t q = p + 1; q < columns; ++q) {
        long double pp = 0;
        long double qq = 0;
        long double pq = 0;
        for (std::size_t i = 0; i < rows; ++i) {
          const long double x = a[i * columns + p];
          const long double y = a[i * columns + q];
          pp += x * x;
          qq += y * y;
          pq += x * y;
        }
        if (std::abs(pq) <= 1e-19L * std::sqrt(pp * qq) || pq == 0) continue;
        rotated = true;
        const long double zeta = (qq - pp) / (2 * pq);
        const long double t =
            std::copysign(1 / (std::abs(zeta) + std::sqrt(1 + zeta * zeta)), zeta);
        const long double c = 1 / std::sqrt(1 + t * t);
        for (std::size_t i = 0; i < rows; ++i) {
          const long double x = a[i * columns + p];
          const long double y = a[i * columns + q];
          a[i * columns + p] = c * (x - t * y);
          a[i * columns + q] = c * (t * x + y);
        }
      }
    }
    if (!rotated) break;
  }
  std::vector<long double> values(columns);
  for (std::size_t p = 0; p < columns; ++p) {
    for (std::size_t i = 0; i < rows; ++i) values[p] += a[i * columns + p] * a[i * columns + p];
    values[p] = std::sqrt(values[p]);
  }
  std::sort(values.rbegin(), values.rend());
  return values;
}

}  // namespace ullage::spectrum
