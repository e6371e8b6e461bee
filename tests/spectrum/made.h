// Matrices made for the tests.
#pragma once

#include <random>

#include "ullage/spectrum/dense.h"

namespace ullage::spectrum {

inline Matrix gaussian(int rows, int columns, std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  Matrix out(rows, columns);
  for (int i = 0; i < rows; ++i) {
    for (double& value : out.row(i)) value = normal(random);
  }
  return out;
}

inline Matrix transposed(const Matrix& a) {
  Matrix out(a.columns(), a.rows());
  for (int i = 0; i < a.rows(); ++i) {
    for (int j = 0; j < a.columns(); ++j) out(j, i) = a(i, j);
  }
  return out;
}

inline Matrix symmetric_part(const Matrix& a) {
  Matrix out(a.rows(), a.rows());
  for (int i = 0; i < a.rows(); ++i) {
    for (int j = 0; j < a.rows(); ++j) out(i, j) = 0.5 * (a(i, j) + a(j, i));
  }
  return out;
}

// a a^T with long double sums.
inline Matrix gram_of(const Matrix& a) {
  Matrix out(a.rows(), a.rows());
  for (int i = 0; i < a.rows(); ++i) {
    for (int j = 0; j < a.rows(); ++j) {
      long double sum = 0;
      for (int k = 0; k < a.columns(); ++k) sum += static_cast<long double>(a(i, k)) * a(j, k);
      out(i, j) = static_cast<double>(sum);
    }
  }
  return out;
}

}  // namespace ullage::spectrum
