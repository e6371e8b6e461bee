// The dense steps against loops in long double and against identities that hold for every matrix.
#include "ullage/spectrum/dense.h"

#include <cblas.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "spectrum/made.h"

namespace ullage::spectrum {
namespace {

Matrix slow_product(const Matrix& a, const Matrix& b) {
  Matrix out(a.rows(), b.columns());
  for (int i = 0; i < a.rows(); ++i) {
    for (int j = 0; j < b.columns(); ++j) {
      long double sum = 0;
      for (int k = 0; k < a.columns(); ++k) sum += static_cast<long double>(a(i, k)) * b(k, j);
      out(i, j) = static_cast<double>(sum);
    }
  }
  return out;
}

void expect_near(const Matrix& a, const Matrix& b, double tolerance) {
  ASSERT_EQ(a.rows(), b.rows());
  ASSERT_EQ(a.columns(), b.columns());
  for (int i = 0; i < a.rows(); ++i) {
    for (int j = 0; j < a.columns(); ++j) ASSERT_NEAR(a(i, j), b(i, j), tolerance) << i << ' ' << j;
  }
}

// OpenBLAS built without threads has no locks either: heads that are scanned side by side would share its buffers.
TEST(Dense, OpenBlasMayBeCalledFromSeveralThreads) { EXPECT_NE(openblas_get_parallel(), 0); }

TEST(Dense, ProductsMatchLongDouble) {
  std::mt19937_64 random(1);
  const Matrix a = gaussian(5, 7, random);
  const Matrix b = gaussian(7, 3, random);
  expect_near(multiply(a, b), slow_product(a, b), 1e-14);
  expect_near(multiply_transposed(a, transposed(b)), slow_product(a, b), 1e-14);
  expect_near(transposed_multiply(transposed(a), b), slow_product(a, b), 1e-14);
  const std::vector<double> x = {1.0, -2.0, 3.0, 0.5, 0.0, 4.0, -1.0};
  Matrix column(7, 1);
  for (int i = 0; i < 7; ++i) column(i, 0) = x[static_cast<std::size_t>(i)];
  const std::vector<double> y = multiply(a, x);
  const std::vector<double> z = transposed_multiply(transposed(a), x);
  const Matrix want = slow_product(a, column);
  for (int i = 0; i < 5; ++i) {
    EXPECT_NEAR(y[static_cast<std::size_t>(i)], want(i, 0), 1e-14);
    EXPECT_NEAR(z[static_cast<std::size_t>(i)], want(i, 0), 1e-14);
  }
}

TEST(Dense, ScaledSymmetricIsDsD) {
  std::mt19937_64 random(2);
  const Matrix s = gram_of(gaussian(4, 9, random));
  const std::vector<double> d = {2.0, 0.5, -1.0, 3.0};
  Matrix diagonal(4, 4);
  for (int i = 0; i < 4; ++i) diagonal(i, i) = d[static_cast<std::size_t>(i)];
  expect_near(scaled_symmetric(s, d), slow_product(slow_product(diagonal, s), diagonal), 1e-13);
}

TEST(Dense, NormsNeitherOverflowNorVanish) {
  EXPECT_DOUBLE_EQ(norm2(std::vector<double>{3e300, 4e300}), 5e300);
  EXPECT_DOUBLE_EQ(norm2(std::vector<double>{3e-310, 4e-310}), 5e-310);
  EXPECT_EQ(norm2(std::vector<double>{}), 0.0);
  EXPECT_EQ(frobenius_norm(Matrix(3, 2)), 0.0);
}

TEST(Dense, EigenvaluesAndVectorsReproduceTheMatrix) {
  std::mt19937_64 random(3);
  for (const int n : {1, 2, 3, 17, 64}) {
    const Matrix s = symmetric_part(gaussian(n, n, random));
    const SymmetricEigen eigen = symmetric_eigen(s, true);
    ASSERT_TRUE(std::is_sorted(eigen.values.begin(), eigen.values.end()));
    Matrix scaled = eigen.vectors;
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) scaled(i, j) *= eigen.values[static_cast<std::size_t>(j)];
    }
    expect_near(slow_product(scaled, transposed(eigen.vectors)), s, 1e-12);
    EXPECT_NEAR(symmetric_eigen(s, false).values.front(), eigen.values.front(), 1e-12 * n);
  }
}

TEST(Dense, SingularValuesMatchTheGramsEigenvalues) {
  std::mt19937_64 random(4);
  const Matrix a = gaussian(6, 11, random);
  const std::vector<double> values = singular_values(a);
  const SymmetricEigen eigen = symmetric_eigen(gram_of(a), false);
  ASSERT_EQ(values.size(), 6U);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(values[i] * values[i], eigen.values[5 - i], 1e-12);
  }
}

TEST(Dense, CholeskyAndItsRefusal) {
  std::mt19937_64 random(5);
  const Matrix s = gram_of(gaussian(20, 40, random));
  Matrix lower;
  ASSERT_TRUE(cholesky(s, lower));
  expect_near(slow_product(lower, transposed(lower)), s, 1e-12);
  EXPECT_EQ(lower(0, 19), 0.0);
  Matrix indefinite = s;
  indefinite(7, 7) = -1.0;
  EXPECT_FALSE(cholesky(indefinite, lower));
  indefinite(7, 7) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(cholesky(indefinite, lower));
}

TEST(Dense, SemidefiniteFactorOfASingularMatrix) {
  std::mt19937_64 random(6);
  const Matrix s = gram_of(gaussian(12, 3, random));
  const Matrix factor = semidefinite_factor(s);
  expect_near(slow_product(factor, transposed(factor)), s, 1e-12);
  expect_near(semidefinite_factor(Matrix(4, 4)), Matrix(4, 4), 0.0);
}

TEST(Dense, TridiagonalKeepsSpectrumAndForms) {
  std::mt19937_64 random(7);
  for (const int n : {1, 2, 3, 33, 128}) {
    const Matrix s = symmetric_part(gaussian(n, n, random));
    const Matrix x = gaussian(2, n, random);
    const std::vector<std::vector<double>> vectors = {{x.row(0).begin(), x.row(0).end()},
                                                      {x.row(1).begin(), x.row(1).end()}};
    const Tridiagonal t = tridiagonalise(s, vectors);
    Matrix full(n, n);
    for (int i = 0; i < n; ++i) {
      full(i, i) = t.diagonal[static_cast<std::size_t>(i)];
      if (i + 1 < n) full(i + 1, i) = full(i, i + 1) = t.off_diagonal[static_cast<std::size_t>(i)];
    }
    // x^T s^k y is unchanged by Q.
    std::vector<double> left = vectors[1];
    std::vector<double> right = t.projected[1];
    for (int k = 0; k < 4; ++k) {
      const double want = dot(vectors[0], left);
      EXPECT_NEAR(dot(t.projected[0], right), want, 1e-11 * std::pow(4.0 * n, 0.5 * k + 1.0));
      left = multiply(s, left);
      right = multiply(full, right);
    }
    EXPECT_NEAR(symmetric_eigen(full, false).values.back(), symmetric_eigen(s, false).values.back(),
                1e-12 * n);
  }
}

TEST(Dense, NotFiniteInGivesNanOut) {
  Matrix s(3, 3);
  s(1, 1) = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(std::isnan(symmetric_eigen(s, true).values[0]));
  EXPECT_TRUE(std::isnan(singular_values(s)[0]));
  EXPECT_TRUE(std::isnan(tridiagonalise(s).diagonal[0]));
}

TEST(Dense, ThreadsGiveTheSameBits) {
  std::mt19937_64 random(8);
  const Matrix s = gram_of(gaussian(96, 128, random));
  const std::vector<double> want = symmetric_eigen(s, false).values;
  std::vector<std::vector<double>> got(4);
  {
    std::vector<std::jthread> threads;
    for (std::vector<double>& values : got)
      threads.emplace_back([&values, &s] { values = symmetric_eigen(s, false).values; });
  }
  for (const std::vector<double>& values : got) EXPECT_EQ(values, want);
}

}  // namespace
}  // namespace ullage::spectrum
