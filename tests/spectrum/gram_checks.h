// What a Gram promises, checked against the true one.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "spectrum/made_rows.h"
#include "ullage/spectrum/gram.h"

namespace ullage::spectrum {

// Largest eigenvalue of true - (values + inflation I) must not be positive: seen by Gershgorin-free
// means, an eigendecomposition of the difference.
inline void expect_bounds(const MadeRows& made, const Gram& gram,
                          const std::vector<long double>& want) {
  const int n = made.rows.rows;
  ASSERT_EQ(gram.values.rows(), n);
  Matrix difference(n, n);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      const long double error = want[static_cast<std::size_t>(i * n + j)] - gram.values(i, j);
      difference(i, j) = static_cast<double>(error);
      const double allowed =
          gram.entry_unit * std::sqrt(gram.values(i, i) * gram.values(j, j)) + gram.entry_floor;
      if (!made.rows.project_mean || i == j) {
        ASSERT_LE(static_cast<double>(made.rows.project_mean ? error : std::abs(error)), allowed)
            << i << ' ' << j;
      }
      ASSERT_EQ(gram.values(i, j), gram.values(j, i));
    }
  }
  ASSERT_LE(symmetric_eigen(difference, false).values.back(), gram.inflation);
}

inline void expect_bounds(const MadeRows& made, const Gram& gram) {
  const std::vector<long double> folded = made.folded(gram.exponent);
  expect_bounds(made, gram, long_product(folded, folded, made.rows.width));
}

}  // namespace ullage::spectrum
