#include "spectrum/subspace.h"

#include <cblas.h>
#include <lapacke.h>

#include <algorithm>
#include <cmath>

#include "spectrum/lanczos.h"
#include "spectrum/lapack.h"

namespace ullage::spectrum {

namespace {

// Of a first call: from a random block to useful vectors.
constexpr int kFirstIterations = 6;

}  // namespace

TopSubspace::TopSubspace(int size) {
  if (size <= kExact) return;
  vectors_ = Matrix(kBlock, size);
  for (int i = 0; i < kBlock; ++i) fill_start(vectors_.row(i), static_cast<std::uint64_t>(i) + 1);
  orthonormalise(vectors_);
}

// Gram-Schmidt, twice where the first pass cancels; a row that vanishes is started anew.
void TopSubspace::orthonormalise(Matrix& block) {
  const auto n = static_cast<int>(block.columns());
  for (int i = 0; i < block.rows(); ++i) {
    for (int attempt = 0; attempt < 4; ++attempt) {
      double* row = block.row(i).data();
      const double before = cblas_dnrm2(n, row, 1);
      for (int k = 0; k < i; ++k) {
        const double part = cblas_ddot(n, row, 1, block.row(k).data(), 1);
        cblas_daxpy(n, -part, block.row(k).data(), 1, row, 1);
      }
      const double after = cblas_dnrm2(n, row, 1);
      if (!(after > 1e-280)) {
        fill_start(block.row(i), static_cast<std::uint64_t>(100 + 10 * i + attempt));
        continue;
      }
      cblas_dscal(n, 1.0 / after, row, 1);
      if (after > 0.5 * before) break;
    }
  }
}

void TopSubspace::update(const Matrix& s) {
  one_blas_thread();
  const int n = s.rows();
  if (n <= kExact) {
    SymmetricEigen eigen = symmetric_eigen(s, true);
    values_.assign(eigen.values.rbegin(), eigen.values.rend());
    vectors_ = Matrix(n, n);
    for (int k = 0; k < n; ++k) {
      for (int i = 0; i < n; ++i) vectors_(k, i) = eigen.vectors(i, n - 1 - k);
    }
    return;
  }
  Matrix product(kBlock, n);
  const auto apply = [&] {
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, kBlock, n, n, 1.0, vectors_.data(), n,
                s.data(), n, 0.0, product.data(), n);
  };
  for (int iteration = 0; iteration < (fresh_ ? kFirstIterations : 1); ++iteration) {
    apply();
    orthonormalise(product);
    std::swap(vectors_, product);
  }
  fresh_ = false;
  apply();
  Matrix small = multiply_transposed(product, vectors_);
  values_.resize(kBlock);
  LAPACKE_dsyev_work(LAPACK_COL_MAJOR, 'V', 'U', kBlock, small.data(), kBlock, values_.data(),
                     product.data(), kBlock * n);
  // Columns of the column-major result, ascending: rows of `small`, so the vectors are small times the block.
  Matrix turned = multiply(small, vectors_);
  for (int i = 0; i < kBlock; ++i) {
    std::copy(turned.row(kBlock - 1 - i).begin(), turned.row(kBlock - 1 - i).end(),
              vectors_.row(i).begin());
  }
  std::reverse(values_.begin(), values_.end());
}

}  // namespace ullage::spectrum
