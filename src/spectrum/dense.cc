#include "ullage/spectrum/dense.h"

#include <cblas.h>
#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "spectrum/entries.h"
#include "spectrum/lanczos.h"
#include "spectrum/lapack.h"

namespace ullage::spectrum {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Matrix product(CBLAS_TRANSPOSE transpose_a, const Matrix& a, CBLAS_TRANSPOSE transpose_b,
               const Matrix& b) {
  one_blas_thread();
  const bool flip_a = transpose_a == CblasTrans;
  const bool flip_b = transpose_b == CblasTrans;
  const int rows = flip_a ? a.columns() : a.rows();
  const int inner = flip_a ? a.rows() : a.columns();
  const int columns = flip_b ? b.rows() : b.columns();
  assert(inner == (flip_b ? b.columns() : b.rows()));
  Matrix out(rows, columns);
  if (rows == 0 || columns == 0 || inner == 0) return out;
  cblas_dgemm(CblasRowMajor, transpose_a, transpose_b, rows, columns, inner, 1.0, a.data(),
              a.columns(), b.data(), b.columns(), 0.0, out.data(), columns);
  return out;
}

std::vector<double> product(CBLAS_TRANSPOSE transpose, const Matrix& a, std::span<const double> x) {
  one_blas_thread();
  const int inner = transpose == CblasTrans ? a.rows() : a.columns();
  const int length = transpose == CblasTrans ? a.columns() : a.rows();
  assert(static_cast<int>(x.size()) == inner);
  std::vector<double> out(static_cast<std::size_t>(length));
  if (length == 0 || inner == 0) return out;
  cblas_dgemv(CblasRowMajor, transpose, a.rows(), a.columns(), 1.0, a.data(), a.columns(), x.data(),
              1, 0.0, out.data(), 1);
  return out;
}

std::span<const double> entries(const Matrix& a) {
  return {a.data(), static_cast<std::size_t>(a.rows()) * static_cast<std::size_t>(a.columns())};
}

bool all_finite(const Matrix& a) { return std::isfinite(largest_magnitude(a)); }

}  // namespace

double largest_magnitude(std::span<const double> values) {
  bool finite = true;
  const double largest = entry_kernels().largest(values.data(), values.size(), finite);
  if (finite) return largest;
  const bool nan =
      std::any_of(values.begin(), values.end(), [](double value) { return std::isnan(value); });
  return nan ? kNan : largest;
}

double largest_magnitude(const Matrix& a) { return largest_magnitude(entries(a)); }

Matrix multiply(const Matrix& a, const Matrix& b) {
  return product(CblasNoTrans, a, CblasNoTrans, b);
}
Matrix multiply_transposed(const Matrix& a, const Matrix& b) {
  return product(CblasNoTrans, a, CblasTrans, b);
}
Matrix transposed_multiply(const Matrix& a, const Matrix& b) {
  return product(CblasTrans, a, CblasNoTrans, b);
}
std::vector<double> multiply(const Matrix& a, std::span<const double> x) {
  return product(CblasNoTrans, a, x);
}
std::vector<double> transposed_multiply(const Matrix& a, std::span<const double> x) {
  return product(CblasTrans, a, x);
}

Matrix scaled_symmetric(const Matrix& s, std::span<const double> diagonal) {
  assert(static_cast<int>(diagonal.size()) == s.rows() && s.rows() == s.columns());
  Matrix out(s.rows(), s.columns(), kUnwritten);
  const auto scale = entry_kernels().scale;
  for (int i = 0; i < s.rows(); ++i) {
    scale(s.row(i).data(), diagonal[static_cast<std::size_t>(i)], diagonal.data(),
          out.row(i).data(), diagonal.size());
  }
  return out;
}

double trace(const Matrix& s) {
  double sum = 0.0;
  for (int i = 0; i < s.rows(); ++i) sum += s(i, i);
  return sum;
}

double dot(std::span<const double> x, std::span<const double> y) {
  assert(x.size() == y.size());
  return lane_dot(x.data(), y.data(), x.size());
}

double norm2(std::span<const double> x) {
  const double largest = largest_magnitude(x);
  if (!(largest > 0.0) || std::isinf(largest)) return largest;
  // A power of two, so that scaling rounds nothing: squares neither overflow nor vanish.
  const double scale = std::exp2(std::min(-std::ilogb(largest), 1023));
  constexpr std::size_t kLanes = 8;
  double lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= x.size(); i += kLanes) {
    for (std::size_t k = 0; k < kLanes; ++k) lanes[k] += (x[i + k] * scale) * (x[i + k] * scale);
  }
  for (std::size_t k = 0; i + k < x.size(); ++k)
    lanes[k] += (x[i + k] * scale) * (x[i + k] * scale);
  return std::sqrt(((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
                   ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))) /
         scale;
}

double frobenius_norm(const Matrix& a) { return norm2(entries(a)); }

SymmetricEigen symmetric_eigen(const Matrix& s, bool with_vectors) {
  one_blas_thread();
  const int n = s.rows();
  assert(n == s.columns());
  SymmetricEigen out;
  out.values.resize(static_cast<std::size_t>(n));
  if (n == 0) return out;
  Matrix work = s;  // row-major lower is column-major upper
  const int info = all_finite(s) ? LAPACKE_dsyevd(LAPACK_COL_MAJOR, with_vectors ? 'V' : 'N', 'U',
                                                  n, work.data(), n, out.values.data())
                                 : 1;
  if (info != 0) std::fill(out.values.begin(), out.values.end(), kNan);
  if (!with_vectors) return out;
  out.vectors = Matrix(n, n);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) out.vectors(j, i) = info == 0 ? work(i, j) : kNan;
  }
  return out;
}

std::vector<double> singular_values(const Matrix& a) {
  one_blas_thread();
  const int n = std::min(a.rows(), a.columns());
  std::vector<double> values(static_cast<std::size_t>(n));
  if (n == 0) return values;
  Matrix work = a;  // its transpose in column-major: the same singular values
  double unused = 0.0;
  const int info = all_finite(a)
                       ? LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'N', a.columns(), a.rows(), work.data(),
                                        a.columns(), values.data(), &unused, 1, &unused, 1)
                       : 1;
  if (info != 0) std::fill(values.begin(), values.end(), kNan);
  return values;
}

bool cholesky(const Matrix& s, Matrix& lower) {
  one_blas_thread();
  const int n = s.rows();
  assert(n == s.columns());
  lower = s;
  if (n == 0) return true;
  // Column-major upper U with U^T U = s, which is row-major lower.
  if (LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'U', n, lower.data(), n) != 0) return false;
  for (int i = 0; i < n; ++i) {
    if (!std::isfinite(lower(i, i))) return false;  // NaN passes LAPACK's sign test
    for (int j = i + 1; j < n; ++j) lower(i, j) = 0.0;
  }
  return true;
}

Matrix semidefinite_factor(const Matrix& s) {
  Matrix lower;
  if (cholesky(s, lower)) return lower;
  SymmetricEigen eigen = symmetric_eigen(s, true);
  const int n = s.rows();
  for (int j = 0; j < n; ++j) {
    const double root = std::sqrt(std::max(eigen.values[static_cast<std::size_t>(j)], 0.0));
    for (int i = 0; i < n; ++i) eigen.vectors(i, j) *= root;
  }
  return std::move(eigen.vectors);
}

Tridiagonal tridiagonalise(const Matrix& s, std::span<const std::vector<double>> vectors) {
  one_blas_thread();
  const int n = s.rows();
  assert(n == s.columns());
  Tridiagonal out;
  out.projected.assign(vectors.begin(), vectors.end());
  out.diagonal.resize(static_cast<std::size_t>(n));
  if (n == 0) return out;
  out.off_diagonal.resize(static_cast<std::size_t>(n - 1));
  Matrix work = s;
  std::vector<double> tau(static_cast<std::size_t>(n));
  int info = all_finite(s)
                 ? LAPACKE_dsytrd(LAPACK_COL_MAJOR, 'U', n, work.data(), n, out.diagonal.data(),
                                  out.off_diagonal.data(), tau.data())
                 : 1;
  for (std::vector<double>& x : out.projected) {
    assert(static_cast<int>(x.size()) == n);
    if (info == 0) {
      info = LAPACKE_dormtr(LAPACK_COL_MAJOR, 'L', 'U', 'T', n, 1, work.data(), n, tau.data(),
                            x.data(), n);
    }
  }
  if (info != 0) {
    std::fill(out.diagonal.begin(), out.diagonal.end(), kNan);
    std::fill(out.off_diagonal.begin(), out.off_diagonal.end(), kNan);
    for (std::vector<double>& x : out.projected) std::fill(x.begin(), x.end(), kNan);
  }
  return out;
}

}  // namespace ullage::spectrum
