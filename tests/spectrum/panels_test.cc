// The small dense steps of panels.h and tridiagonal.h against LAPACK, on every CPU path that this machine runs.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "spectrum/made.h"
#include "spectrum/paths.h"
#include "ullage/spectrum/panels.h"
#include "ullage/spectrum/tridiagonal.h"

namespace ullage::spectrum {
namespace {

using PanelsOnPath = PerPath;

constexpr int kSizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 40, 64, 80, 96, 100, 128, 192};

Matrix gram_of(int n, std::mt19937_64& random) {
  const Matrix a = gaussian(n, n + 5, random);
  Matrix out = multiply_transposed(a, a);
  for (int i = 0; i < n; ++i) {
    for (double& value : out.row(i)) value /= n + 5;
  }
  return out;
}

std::vector<double> gaussian_vector(int n, std::mt19937_64& random) {
  const Matrix x = gaussian(1, n, random);
  return {x.row(0).begin(), x.row(0).end()};
}

template <class T>
Matrix matrix_of(const SquareOf<T>& s) {
  Matrix out(s.size(), s.size());
  for (int i = 0; i < s.size(); ++i) {
    for (int j = 0; j < s.size(); ++j) out(i, j) = static_cast<double>(s(i, j));
  }
  return out;
}

double distance(const Matrix& a, const Matrix& b) {
  double largest = 0.0;
  for (int i = 0; i < a.rows(); ++i) {
    for (int j = 0; j < a.columns(); ++j) largest = std::max(largest, std::abs(a(i, j) - b(i, j)));
  }
  return largest;
}

template <class T>
Matrix clean_upper(const SquareOf<T>& r) {
  Matrix out = matrix_of(r);
  for (int i = 0; i < r.size(); ++i) {
    for (int j = 0; j < i; ++j) out(i, j) = 0.0;
  }
  return out;
}

// `unit`: of FP64 1, of FP32 its roundoff over FP64's.
template <class T>
void expect_factor_and_solve(double unit) {
  std::mt19937_64 random(1);
  for (const int n : kSizes) {
    const Matrix g = gram_of(n, random);
    SquareOf<T> r(g);
    ASSERT_TRUE(factor(r)) << n;
    const Matrix upper = clean_upper(r);
    EXPECT_LE(distance(transposed_multiply(upper, upper), g), 1e-14 * n * unit) << n;

    const Matrix c = gaussian(n, n, random);
    SquareOf<T> y(c);
    solve_transposed(r, y);
    EXPECT_LE(distance(transposed_multiply(upper, matrix_of(y)), c), 1e-13 * n * unit) << n;
    std::vector<double> x = gaussian_vector(n, random);
    const std::vector<double> before = x;
    solve_transposed(r, std::span<double>(x));
    const std::vector<double> back = transposed_multiply(upper, x);
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(back[i], before[i], 1e-13 * n * unit);
  }
}

constexpr double kSingleUnit = 0x1p-24 / 0x1p-53;

TEST_P(PanelsOnPath, FactorAndSolve) {
  expect_factor_and_solve<double>(1.0);
  expect_factor_and_solve<float>(kSingleUnit);
}

TEST_P(PanelsOnPath, FactorRefusesWhatIsNotPositive) {
  std::mt19937_64 random(2);
  for (const int n : kSizes) {
    Matrix g = gram_of(n, random);
    const double top = symmetric_eigen(g, false).values.back();
    const auto shifted = [&](double by) {
      Square s(g);
      for (int i = 0; i < n; ++i) {
        for (int j = 0; j < n; ++j) s(i, j) = (i == j ? by : 0.0) - g(i, j);
      }
      return s;
    };
    Square above = shifted(top * (1.0 + 1e-10));
    EXPECT_TRUE(factor(above)) << n;
    Square below = shifted(top * (1.0 - 1e-10));
    EXPECT_FALSE(factor(below)) << n;
    Square nan(g);
    nan(n - 1, n - 1) = std::nan("");
    EXPECT_FALSE(factor(nan)) << n;
  }
}

template <class T>
void expect_products(double unit) {
  using Panel = SquareOf<T>;
  std::mt19937_64 random(3);
  for (const int n : kSizes) {
    const Matrix a = gaussian(n, n, random);
    Matrix l = gaussian(n, n, random);
    for (int i = 0; i < n; ++i) {
      for (int j = i + 1; j < n; ++j) l(i, j) = 0.0;
    }
    const double close = 1e-13 * n * unit;
    EXPECT_LE(distance(matrix_of(transposed_product(Panel(a), Shape::full, Panel(l), Shape::lower)),
                       transposed_multiply(a, l)),
              close);
    EXPECT_LE(distance(matrix_of(transposed_product(Panel(l), Shape::lower, Panel(a), Shape::full)),
                       transposed_multiply(l, a)),
              close);
    EXPECT_LE(distance(matrix_of(symmetric_product(Panel(a), Shape::full, Panel(a))),
                       transposed_multiply(a, a)),
              close);
    const Matrix g = gram_of(n, random);
    const Matrix gl = multiply(g, l);
    EXPECT_LE(distance(matrix_of(symmetric_product(Panel(l), Shape::lower, Panel(gl))),
                       transposed_multiply(l, gl)),
              close * n);
    const Matrix twice = matrix_of(transposed(transposed(Panel(a))));
    EXPECT_EQ(distance(twice, matrix_of(Panel(a))), 0.0);
    EXPECT_EQ(transposed(Panel(a))(0, n - 1), Panel(a)(n - 1, 0));
  }
}

TEST_P(PanelsOnPath, ProductsMatchPlainLoops) {
  expect_products<double>(1.0);
  expect_products<float>(kSingleUnit);
}

// det(y I - T), p^T (y I - T)^-1 p and all eigenvalues are those of the dense matrix.
TEST_P(PanelsOnPath, TridiagonalForm) {
  std::mt19937_64 random(4);
  for (const int n : kSizes) {
    const Matrix g = gram_of(n, random);
    std::vector<double> p = gaussian_vector(n, random);
    std::vector<double> rotated = p;
    const Tridiagonal t = tridiagonalise(Square(g), {&rotated});
    EXPECT_NEAR(norm2(rotated), norm2(p), 1e-12);

    const SymmetricEigen eigen = symmetric_eigen(g, true);
    const std::vector<double> values = eigenvalues(t);
    for (std::size_t k = 0; k < values.size(); ++k) {
      EXPECT_NEAR(values[k], eigen.values[k], 3e-8 * eigen.values.back()) << n;
    }
    const double y = 2.0 * eigen.values.back();
    double expected = 0.0;
    for (int k = 0; k < n; ++k) {
      double along = 0.0;
      for (int i = 0; i < n; ++i) along += eigen.vectors(i, k) * p[static_cast<std::size_t>(i)];
      expected += along * along / (y - eigen.values[static_cast<std::size_t>(k)]);
    }
    Matrix dense(n, n);
    for (int i = 0; i < n; ++i) {
      dense(i, i) = y - t.diagonal[static_cast<std::size_t>(i)];
      if (i + 1 < n)
        dense(i, i + 1) = dense(i + 1, i) = -t.off_diagonal[static_cast<std::size_t>(i)];
    }
    Matrix lower;
    ASSERT_TRUE(cholesky(dense, lower));
    double resolvent = 0.0;
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < i; ++j) {
        rotated[static_cast<std::size_t>(i)] -= lower(i, j) * rotated[static_cast<std::size_t>(j)];
      }
      rotated[static_cast<std::size_t>(i)] /= lower(i, i);
      resolvent += rotated[static_cast<std::size_t>(i)] * rotated[static_cast<std::size_t>(i)];
    }
    EXPECT_NEAR(resolvent, expected, 1e-12 * expected) << n;
  }
}

// Spectra that trip bisection: multiple, clustered, zero, graded, diagonal.
TEST_P(PanelsOnPath, EigenvaluesOfAwkwardSpectra) {
  std::mt19937_64 random(5);
  for (const int n : {5, 16, 33, 128}) {
    const Matrix a = gaussian(n, n, random);
    const Matrix q = symmetric_eigen(multiply_transposed(a, a), true).vectors;
    for (const char* kind : {"equal", "two", "rank one", "graded", "zero"}) {
      std::vector<double> wanted;
      for (int i = 0; i < n; ++i) {
        const std::string name = kind;
        wanted.push_back(name == "equal"      ? 1.0
                         : name == "two"      ? (i % 2 == 0 ? 1.0 : 1.0 + 1e-12)
                         : name == "rank one" ? (i == 0 ? 1.0 : 0.0)
                         : name == "graded"   ? std::exp2(-i)
                                              : 0.0);
      }
      Matrix scaled = q;
      for (int i = 0; i < n; ++i) {
        for (int j = 0; j < n; ++j) scaled(i, j) *= wanted[static_cast<std::size_t>(j)];
      }
      const Matrix s = multiply_transposed(scaled, q);
      std::sort(wanted.begin(), wanted.end());
      const std::vector<double> values = eigenvalues(tridiagonalise(Square(s)));
      Matrix diagonal(n, n);
      for (int i = 0; i < n; ++i) diagonal(i, i) = wanted[static_cast<std::size_t>(i)];
      const std::vector<double> of_diagonal = eigenvalues(tridiagonalise(Square(diagonal)));
      for (std::size_t k = 0; k < values.size(); ++k) {
        EXPECT_NEAR(values[k], wanted[k], 3e-8) << kind << ' ' << n << ' ' << k;
        EXPECT_NEAR(of_diagonal[k], wanted[k], 3e-8) << kind << ' ' << n << ' ' << k;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, PanelsOnPath, testing::ValuesIn(kCpuPaths), path_name);

}  // namespace
}  // namespace ullage::spectrum
