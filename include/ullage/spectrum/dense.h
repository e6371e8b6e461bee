// Small dense matrices in double precision (a few hundred rows at most) and the LAPACK calls on
// them.
//
// Everything after a Gram matrix is head_dim x head_dim: this file holds those steps. Row-major,
// single-threaded (OpenBLAS's bits change with its thread count), safe to call from several threads
// at once.
#pragma once

#include <cassert>
#include <cstddef>
#include <span>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/spectrum/pool.h"

namespace ullage::spectrum {

// Asks for memory whose entries are all about to be written.
struct Unwritten {};
inline constexpr Unwritten kUnwritten = {};

// rows x columns, row-major, contiguous; zeros at first unless kUnwritten.
class Matrix {
 public:
  Matrix() = default;
  Matrix(int rows, int columns)
      : rows_(rows),
        columns_(columns),
        values_(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns), 0.0) {}
  Matrix(int rows, int columns, Unwritten /*tag*/)
      : rows_(rows),
        columns_(columns),
        values_(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns)) {}

  [[nodiscard]] int rows() const { return rows_; }
  [[nodiscard]] int columns() const { return columns_; }
  double& operator()(int i, int j) { return values_[index(i, j)]; }
  double operator()(int i, int j) const { return values_[index(i, j)]; }
  [[nodiscard]] double* data() { return values_.data(); }
  [[nodiscard]] const double* data() const { return values_.data(); }
  [[nodiscard]] std::span<double> row(int i) {
    return {data() + index(i, 0), static_cast<std::size_t>(columns_)};
  }
  [[nodiscard]] std::span<const double> row(int i) const {
    return {data() + index(i, 0), static_cast<std::size_t>(columns_)};
  }

 private:
  [[nodiscard]] std::size_t index(int i, int j) const {
    assert(i >= 0 && i < rows_ && j >= 0 && (j < columns_ || (j == 0 && columns_ == 0)));
    return static_cast<std::size_t>(i) * static_cast<std::size_t>(columns_) +
           static_cast<std::size_t>(j);
  }
  int rows_ = 0;
  int columns_ = 0;
  std::vector<double, PooledAllocator<double>> values_;
};

// a b, a b^T, a^T b; and D s D for a symmetric s and a diagonal D given as a vector.
Matrix multiply(const Matrix& a, const Matrix& b);
Matrix multiply_transposed(const Matrix& a, const Matrix& b);
Matrix transposed_multiply(const Matrix& a, const Matrix& b);
Matrix scaled_symmetric(const Matrix& s, std::span<const double> diagonal);
std::vector<double> multiply(const Matrix& a, std::span<const double> x);
std::vector<double> transposed_multiply(const Matrix& a, std::span<const double> x);

// Largest |entry|; NaN if any is NaN, infinity if any is infinite and none NaN.
double largest_magnitude(std::span<const double> values);
double largest_magnitude(const Matrix& a);

double trace(const Matrix& s);
double frobenius_norm(const Matrix& a);
double dot(std::span<const double> x, std::span<const double> y);
double norm2(std::span<const double> x);

// Eigenvalues in ascending order; vectors (when asked for) as the columns of the matrix. Reads the
// lower triangle.
struct SymmetricEigen {
  std::vector<double> values;
  Matrix vectors;
};
SymmetricEigen symmetric_eigen(const Matrix& s, bool with_vectors);

// Singular values in descending order.
std::vector<double> singular_values(const Matrix& a);

// Lower Cholesky factor, or false when s is not positive definite to working precision.
bool cholesky(const Matrix& s, Matrix& lower);

// A factor L with L L^T = s for a positive semidefinite s: Cholesky, or symmetric
// eigendecomposition with negative eigenvalues clipped to zero where Cholesky fails. Errors only of
// order u |s|.
Matrix semidefinite_factor(const Matrix& s);

// Householder reduction s = Q T Q^T: T's diagonal and off-diagonal, and Q^T x for given vectors x.
// One O(n^3) reduction makes every later log-determinant or resolvent in lambda O(n).
struct Tridiagonal {
  std::vector<double> diagonal;
  std::vector<double> off_diagonal;            // one shorter
  std::vector<std::vector<double>> projected;  // Q^T x, one for each given vector
};
Tridiagonal tridiagonalise(const Matrix& s, std::span<const std::vector<double>> vectors = {});

}  // namespace ullage::spectrum
